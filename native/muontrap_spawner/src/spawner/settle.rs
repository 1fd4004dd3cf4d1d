// SPDX-FileCopyrightText: 2026 The muontrap authors
// SPDX-License-Identifier: Apache-2.0

//! What shims leave that were killed: ended, and told of to whoever asks.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

use muontrap_core::protocol::Reply;
use muontrap_core::{cgroup, tree};
use nix::unistd::{Pid, getsid};

use super::{Question, Spawner};

/// How long an orphan may take to die of SIGKILL before it is reported as a survivor.
const ORPHAN_MARGIN: Duration = Duration::from_secs(5);

impl Spawner {
    pub(super) fn kill_orphans(&mut self) {
        let Some(since) = self.orphaned else { return };
        let sweep = tree::signal(libc::SIGKILL, |pid| self.is_spared(pid));
        self.reap();
        // What counts is who is there after reaping. A process that died while the sweep looked at it has
        // handed its children to us unseen.
        let left = tree::children(|pid| self.is_spared(pid));
        let late = self.clock.now().since(since) > ORPHAN_MARGIN;
        if left.is_empty() || sweep.is_hopeless() || late {
            // What is out of reach now is reaped when it ends.
            self.orphaned = None;
            self.give_up(&left);
        }
    }

    fn give_up(&mut self, left: &[i32]) {
        let mut groups = HashMap::new();
        for (id, cgroup) in std::mem::take(&mut self.abandoned) {
            if !left.is_empty() {
                let paths = cgroup.groups.iter().map(|group| path(&group.path));
                groups.extend(paths.flat_map(cgroup::members).map(|pid| (pid, id)));
            }
        }
        let doubtful = self.orphans.give_up(left, &groups);
        if !doubtful.is_empty() {
            let text =
                format!("processes that cannot be killed, of several commands: {doubtful:?}");
            self.reply(&Reply::Complaint { id: 0, text });
        }
    }

    fn is_spared(&self, pid: i32) -> bool {
        self.children.contains(pid) || self.orphans.is_given_up(pid)
    }

    pub(super) fn settle(&mut self) {
        if self.orphaned.is_some() || self.unsettled.is_empty() {
            return;
        }
        let (waiting, settled): (Vec<Question>, Vec<Question>) =
            std::mem::take(&mut self.unsettled)
                .into_iter()
                .partition(|question| self.children.is_busy(question.shim, question.id));
        self.unsettled = waiting;
        for Question { id, program, .. } in settled {
            let session = |pid| getsid(Some(Pid::from_raw(pid))).ok().map(Pid::as_raw);
            let survivors = self.orphans.survivors(id, program, session);
            self.reply(&Reply::Settled { id, survivors });
        }
    }
}

fn path(bytes: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(bytes))
}
