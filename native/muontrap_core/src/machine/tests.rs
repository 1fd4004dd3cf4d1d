// SPDX-FileCopyrightText: 2026 The muontrap authors
// SPDX-License-Identifier: Apache-2.0

use std::time::Duration;

use super::*;
use crate::failure::{Failure, Step};
use crate::protocol::{Outcome, Status, Usage};

const GRACE: Duration = Duration::from_millis(500);
const SHORT: Duration = Duration::from_millis(5);

fn outcome() -> Outcome {
    Outcome {
        pid: 7,
        status: Status::Exited(3),
        usage: Usage::default(),
        oom_killed: false,
        survivors: Vec::new(),
        leftovers: Vec::new(),
    }
}

fn failure() -> Failure {
    Failure::because(Step::Exec, "x", Reason::Died)
}

fn machine(announce: bool) -> Machine {
    let outputs = [true, true];
    let terminal = false;
    Machine::new(Setup { outputs, input: true, terminal, window_bytes: 10, announce, grace: GRACE })
}

/// A machine after these events, whatever they wanted done.
fn after(announce: bool, events: &[Event]) -> Machine {
    let mut machine = machine(announce);
    for event in events {
        machine.hear(event.clone());
    }
    machine
}

/// Takes everything until the terminal event. The pipes are empty.
fn drain(machine: &mut Machine) -> Option<Terminal> {
    loop {
        match machine.next(64) {
            Next::Read(channel, _) => drop(machine.read(channel, Read::Empty)),
            Next::Measure(channel) => machine.measured(channel, 64),
            Next::Last(terminal) => return Some(terminal),
            Next::Nothing => return None,
        }
    }
}

fn order(grace: Duration) -> Effect {
    Effect::Order(Order::Stop { grace_ms: grace.as_millis() as u64, told: false })
}

fn stop(step: StopStep) -> Event {
    Event::Due(Deadline::Stop(step, GRACE))
}

fn start(step: StartStep) -> Event {
    Event::Due(Deadline::Start(step))
}

fn settle() -> Vec<Effect> {
    use Effect::{CloseControl, KillProgram, Set, Settle};
    vec![KillProgram, CloseControl, Set(Deadline::Settle), Settle]
}

/// What each ending wants done.
fn end() -> Vec<Effect> {
    vec![Effect::CloseControl, Effect::CloseInput, Effect::TellGone, Effect::Deliver]
}

fn killed_end() -> Vec<Effect> {
    [vec![Effect::KillProgram], end()].concat()
}

/// Each row: what happens next, what it wants done, and how far the command is then.
fn check(before: &[Event], rows: Vec<(Event, Vec<Effect>, Phase)>) {
    for (event, effects, phase) in rows {
        let mut machine = after(false, before);
        let row = format!("{before:?}, {event:?}");
        assert_eq!(machine.hear(event), effects, "{row}");
        assert_eq!(machine.phase, phase, "{row}");
    }
}

fn timeout() -> Phase {
    Phase::Over(Terminal::lost(Reason::Timeout, vec![7]))
}

#[test]
fn starts() {
    let next = Effect::Set(Deadline::Start(StartStep::Replace));
    let wake = vec![Effect::Ask(Ask::Sign), Effect::Ask(Ask::Wake), next];
    let failed = || Phase::Over(Terminal::Failed(failure()));
    let set = |step| Effect::Set(Deadline::Start(step));
    let nudge = vec![Effect::Ask(Ask::Wake), set(StartStep::Evict)];
    let evict = vec![Effect::Ask(Ask::Evict), set(StartStep::Wake)];
    let again = vec![Effect::StartAgain, set(StartStep::Wake)];
    let rows = vec![
        (Event::Started(7), vec![], Phase::Running),
        (Event::Failed(failure()), end(), failed()),
        (Event::Refused(failure()), end(), failed()),
        (Event::Ended(outcome()), end(), Phase::Over(Terminal::Ended(outcome()))),
        (Event::ShimDied, settle(), Phase::Settling),
        (Event::Unread, again.clone(), Phase::Starting),
        (start(StartStep::Nudge), nudge, Phase::Starting),
        (start(StartStep::Evict), evict, Phase::Starting),
        (Event::Lingering, vec![Effect::AnswerLingering], Phase::Lingering),
        (start(StartStep::Wake), wake, Phase::Starting),
        (start(StartStep::Replace), vec![Effect::Ask(Ask::Replace)], Phase::Starting),
    ];
    check(&[], rows);
    // Told to stop meanwhile, it is told so again.
    let stopped = [again, vec![order_to_stop(GRACE)]].concat();
    check(&[Event::Stop(GRACE)], vec![(Event::Unread, stopped, Phase::Starting)]);
    // Not once it has been heard of.
    check(&[Event::Started(7)], vec![(Event::Unread, settle(), Phase::Settling)]);
}

#[test]
fn runs() {
    let panicked = Phase::Over(Terminal::lost(Reason::Panicked, vec![7]));
    let rows = vec![
        (start(StartStep::Wake), vec![], Phase::Running),
        (Event::Started(8), vec![], Phase::Running),
        (Event::Ended(outcome()), end(), Phase::Over(Terminal::Ended(outcome()))),
        (Event::Settled(vec![1]), vec![], Phase::Running),
        (Event::SpawnerDied, vec![], Phase::Running),
        (Event::Writable, vec![], Phase::Running),
        (Event::Readable(Channel::Stderr), vec![Effect::Deliver], Phase::Running),
        (Event::Panicked("of it".into()), vec![], Phase::Running),
        (Event::Lingering, vec![Effect::AnswerLingering], Phase::Lingering),
        (Event::Fault, end(), panicked),
    ];
    check(&[Event::Started(7)], rows);
}

#[test]
fn stops() {
    let set = |step, grace| Effect::Set(Deadline::Stop(step, grace));
    let wake = vec![Effect::Ask(Ask::Wake), set(StopStep::Kill, GRACE)];
    let kill = vec![Effect::Ask(Ask::Kill), set(StopStep::Abandon, GRACE)];
    let stopped = |grace| vec![order(grace), set(StopStep::Wake, grace)];
    let gone = [vec![Effect::CloseInput], stopped(GRACE), vec![Effect::Deliver]].concat();
    let rows = vec![
        (Event::Stop(GRACE), stopped(GRACE), Phase::Running),
        (Event::OwnerGone, gone, Phase::Running),
        (stop(StopStep::Wake), wake, Phase::Running),
        (stop(StopStep::Kill), kill, Phase::Running),
        (stop(StopStep::Abandon), killed_end(), timeout()),
    ];
    check(&[Event::Started(7)], rows);
    // Another order is watched if it is the shorter one.
    let again = vec![(Event::Stop(GRACE), vec![order(GRACE)], Phase::Running)];
    check(&[Event::Started(7), Event::Stop(SHORT)], again);
    let again = vec![(Event::Stop(SHORT), stopped(SHORT), Phase::Running)];
    check(&[Event::Started(7), Event::Stop(GRACE)], again);
    let again = vec![(Event::OwnerGone, vec![], Phase::Running)];
    check(&[Event::Started(7), Event::OwnerGone], again);
    // The program itself has ended.
    let over = Phase::Over(Terminal::lost(Reason::Timeout, vec![]));
    let rows = vec![(stop(StopStep::Abandon), killed_end(), over)];
    check(&[Event::Started(7), Event::Lingering], rows);
}

#[test]
fn settles_what_a_dead_shim_left() {
    let retry = Event::Due(Deadline::Retry(Retry::Settle));
    let died = |panic, survivors| Phase::Over(Terminal::died(panic, survivors));
    let rows = vec![
        (stop(StopStep::Kill), vec![], Phase::Settling),
        (Event::Stop(GRACE), vec![], Phase::Settling),
        (Event::SpawnerDied, vec![Effect::Settle], Phase::Settling),
        (retry, vec![Effect::Settle], Phase::Settling),
        (Event::Settled(vec![9]), end(), died(None, vec![9])),
        (Event::Due(Deadline::Settle), killed_end(), timeout()),
    ];
    check(&[Event::Started(7), Event::ShimDied], rows);
    let panic = Event::Panicked("of it".into());
    let rows = vec![(Event::Settled(vec![]), end(), died(Some("of it".into()), vec![]))];
    check(&[Event::Started(7), panic, Event::ShimDied], rows);
}

#[test]
fn is_over_once() {
    let over = || Phase::Over(Terminal::Ended(outcome()));
    let rows = vec![
        (Event::Started(7), vec![], over()),
        (Event::ShimDied, vec![], over()),
        (Event::Failed(failure()), vec![], over()),
        (Event::Stop(GRACE), vec![], over()),
        (stop(StopStep::Abandon), vec![], over()),
        (Event::Writable, vec![], over()),
        (Event::Fault, vec![], over()),
        (Event::OwnerGone, vec![Effect::Deliver], over()),
    ];
    check(&[Event::Ended(outcome())], rows);
}

#[test]
fn says_nothing_before_the_start_that_is_to_be_announced() {
    let mut machine = machine(true);
    machine.await_room();
    assert_eq!(machine.hear(Event::Readable(Channel::Stdout)), [Effect::Deliver]);
    assert_eq!(machine.next(64), Next::Nothing);
    assert_eq!(machine.acknowledge(0), []);
    assert_eq!(machine.hear(Event::Writable), []);
    let effects = machine.hear(Event::Started(7));
    assert_eq!(effects, [Effect::TellStarted(7), Effect::Watch(Source::Stdin), Effect::Deliver]);
    assert_eq!(machine.next(64), Next::Read(Channel::Stdout, 10));
    assert_eq!(machine.hear(Event::Writable), [Effect::TellRoom]);
}

#[test]
fn says_the_terminal_event_once_and_nothing_after_it() {
    for announce in [false, true] {
        let mut machine = after(announce, &[Event::Started(7), Event::Ended(outcome())]);
        assert_eq!(drain(&mut machine), Some(Terminal::Ended(outcome())));
        assert_eq!(machine.next(64), Next::Nothing);
        let all = [
            Event::Started(7),
            Event::Lingering,
            Event::Failed(failure()),
            Event::Ended(outcome()),
            Event::ShimDied,
            Event::Settled(vec![]),
            Event::SpawnerDied,
            Event::OwnerGone,
            Event::Stop(GRACE),
            Event::Readable(Channel::Stdout),
            Event::Writable,
            stop(StopStep::Abandon),
            Event::Due(Deadline::Drain),
            Event::Due(Deadline::Retry(Retry::Settle)),
            Event::Fault,
        ];
        for event in all {
            assert_eq!(machine.hear(event.clone()), [], "{event:?}");
        }
        assert_eq!(machine.await_room(), None);
    }
}

#[test]
fn reads_no_more_than_the_window_allows_and_waits_for_no_event_then() {
    let mut machine = after(false, &[Event::Started(7), Event::Readable(Channel::Stdout)]);
    assert_eq!(machine.next(64), Next::Read(Channel::Stdout, 10));
    assert_eq!(machine.read(Channel::Stdout, Read::Bytes(10)), None);
    assert_eq!(machine.next(64), Next::Nothing);
    // Six bytes are on their way, and come first.
    assert_eq!(machine.acknowledge(4), []);
    assert_eq!(machine.next_message(64), Next::Nothing);
    assert_eq!(machine.pull(0), Some(vec![]));
    assert_eq!(machine.pull(6), None);
    assert_eq!(machine.next(64), Next::Read(Channel::Stdout, 10));
    assert_eq!(machine.read(Channel::Stdout, Read::Bytes(3)), None);
    assert_eq!(machine.acknowledge(3), [Effect::Watch(Source::Stdout)]);
    machine.hear(Event::Readable(Channel::Stdout));
    assert_eq!(machine.next_message(64), Next::Read(Channel::Stdout, 10));
}

#[test]
fn reads_after_the_end_no_more_than_the_pipe_can_hold() {
    let mut machine = after(false, &[Event::Started(7), Event::OwnerGone, Event::ShimDied]);
    machine.hear(Event::Settled(vec![9]));
    assert_eq!(machine.next(64), Next::Measure(Channel::Stdout));
    machine.measured(Channel::Stdout, 100);
    assert_eq!(machine.next(64), Next::Read(Channel::Stdout, 64));
    machine.read(Channel::Stdout, Read::Bytes(64));
    assert_eq!(machine.next(64), Next::Read(Channel::Stdout, 36));
    machine.read(Channel::Stdout, Read::Bytes(36));
    // A read of nothing is the end.
    assert_eq!(machine.next(64), Next::Read(Channel::Stdout, 0));
    machine.read(Channel::Stdout, Read::End);
    assert_eq!(machine.next(64), Next::Measure(Channel::Stderr));
}

#[test]
fn drops_what_is_written_without_an_owner_at_leisure() {
    let mut machine = after(false, &[Event::Started(7), Event::OwnerGone]);
    let drain = Effect::Set(Deadline::Drain);
    assert_eq!(machine.deliver_later(), Some(drain.clone()));
    assert_eq!(machine.deliver_later(), None);
    assert_eq!(machine.hear(Event::Due(Deadline::Drain)), [Effect::Deliver]);
    assert_eq!(machine.deliver_later(), Some(drain));
    machine.hear(Event::Ended(outcome()));
    assert_eq!(machine.deliver_later(), Some(Effect::Deliver));
}

#[test]
fn types_the_end_of_input_on_a_terminal_once_there_is_room() {
    let setup = Setup {
        outputs: [true, false],
        input: true,
        terminal: true,
        window_bytes: 10,
        announce: false,
        grace: GRACE,
    };
    let mut machine = Machine::new(setup);
    assert_eq!(machine.end_input(), Some(Effect::TypeEnd));
    assert!(!machine.has_input());
    assert_eq!(machine.end_input(), None);
    assert_eq!(machine.await_room(), Some(Effect::Watch(Source::Stdin)));
    assert_eq!(machine.hear(Event::Writable), vec![Effect::TypeEnd]);
    assert_eq!(machine.close_input(), Some(Effect::CloseInput));
    assert_eq!(machine.end_input(), None);
}

#[test]
fn keeps_a_terminal_that_nobody_has_open_until_the_tree_is_gone() {
    let watch_return = Some(Effect::WatchReturn(Source::Stdout));
    let mut machine = after(false, &[Event::Started(7), Event::Readable(Channel::Stdout)]);
    assert_eq!(machine.read(Channel::Stdout, Read::HungUp), watch_return);
    // The event that comes at once does not lead to another.
    machine.hear(Event::Readable(Channel::Stdout));
    assert_eq!(machine.next(64), Next::Read(Channel::Stdout, 10));
    assert_eq!(machine.read(Channel::Stdout, Read::HungUp), None);
    // Somebody has come back, and left again.
    machine.hear(Event::Readable(Channel::Stdout));
    assert_eq!(machine.read(Channel::Stdout, Read::Bytes(3)), None);
    assert_eq!(machine.read(Channel::Stdout, Read::HungUp), None);
    machine.hear(Event::Readable(Channel::Stdout));
    let watch = Some(Effect::Watch(Source::Stdout));
    assert_eq!(machine.read(Channel::Stdout, Read::Empty), watch);
    machine.hear(Event::Readable(Channel::Stdout));
    assert_eq!(machine.read(Channel::Stdout, Read::HungUp), watch_return);
    machine.hear(Event::Ended(outcome()));
    let close = Some(Effect::CloseOutput(Channel::Stdout));
    assert_eq!(machine.read(Channel::Stdout, Read::HungUp), close);
}
