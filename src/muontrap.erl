%% SPDX-FileCopyrightText: 2026 The muontrap authors
%% SPDX-License-Identifier: Apache-2.0

%% @doc MuonTrap for Erlang: the same functions, with strings as Erlang has them.
%%
%% A program and its arguments are iodata or lists of characters, which become UTF-8. Options are those of
%% `MuonTrap.cmd/3' in Elixir, with binaries where that takes strings. What is returned is what Elixir gets: output
%% is a binary.
%%
%% A process that ends takes its programs with it, and what these have started.
%% ```
%% {<<"hello\n">>, 0} = muontrap:cmd("echo", ["hello"]).
%% {ok, Pid} = muontrap:start_link("nginx", ["-g", "daemon off;"], [{delay_to_sigkill, 5000}]).
%% '''
-module(muontrap).

-export([cmd/2, cmd/3, run/2, run/3, start_link/2, start_link/3, os_pid/1, message/1]).

-export_type([text/0, option/0, options/0]).

-type text() :: unicode:chardata().
-type option() :: {atom(), term()}.
-type options() :: [option()].

%% @doc As `cmd/3' without options.
-spec cmd(text(), [text()]) -> {binary(), 0..255}.
cmd(Program, Args) ->
    cmd(Program, Args, []).

%% @doc Runs a program and waits for its end: its output and its exit status, `timeout' after its timeout. With `into'
%% the first of these is that collectable. Blocks the caller until nothing of the program is left.
%%
%% Raises an error if it cannot be started: the errno as an atom (`enoent') where it is the program's, else a map. What
%% is wrong with an option is a map, too. `message/1' has words for each.
-spec cmd(text(), [text()], options()) -> {term(), 0..255 | timeout}.
cmd(Program, Args, Options) ->
    'Elixir.MuonTrap':cmd(binary(Program), binaries(Args), Options).

%% @doc As `run/3' without options.
-spec run(text(), [text()]) -> #{'__struct__' := 'Elixir.MuonTrap.Result', atom() => term()}.
run(Program, Args) ->
    run(Program, Args, []).

%% @doc The same, with all that there is to know of it as a map: status, output, stderr, usage and others, see
%% `MuonTrap.Result'.
-spec run(text(), [text()], options()) ->
          #{'__struct__' := 'Elixir.MuonTrap.Result', atom() => term()}.
run(Program, Args, Options) ->
    'Elixir.MuonTrap':run(binary(Program), binaries(Args), Options).

%% @doc As `start_link/3' without options.
-spec start_link(text(), [text()]) -> {ok, pid()} | ignore | {error, term()}.
start_link(Program, Args) ->
    start_link(Program, Args, []).

%% @doc Starts a process that runs a program for a supervisor, with the options of `MuonTrap.Daemon'. The process ends
%% when the program does, and the program when the process does. Returns once the program has started.
-spec start_link(text(), [text()], options()) -> {ok, pid()} | ignore | {error, term()}.
start_link(Program, Args, Options) ->
    'Elixir.MuonTrap.Daemon':start_link(binary(Program), binaries(Args), Options).

%% @doc The process id of the program of such a process, `nil' or `error' without one.
-spec os_pid(pid() | atom()) -> pos_integer() | nil | error.
os_pid(Daemon) ->
    'Elixir.MuonTrap.Daemon':os_pid(Daemon).

%% @doc The reason of an error that was raised or returned, in words: what failed on what, why, and what mends it.
-spec message(term()) -> binary().
message(#{'__exception__' := true} = Error) ->
    'Elixir.Exception':message(Error);
message(Reason) ->
    'Elixir.Exception':message('Elixir.Exception':normalize(error, Reason)).

binaries(Args) ->
    [binary(Arg) || Arg <- Args].

%% Bytes that are no UTF-8 stay as they are.
binary(Text) when is_binary(Text) ->
    Text;
binary(Text) ->
    case unicode:characters_to_binary(Text) of
        Binary when is_binary(Binary) -> Binary;
        _Other -> iolist_to_binary(Text)
    end.
