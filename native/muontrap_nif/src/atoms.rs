// SPDX-FileCopyrightText: 2026 The muontrap authors
// SPDX-License-Identifier: Apache-2.0

//! The atoms that cross the boundary.

rustler::atoms! {
    ok, error, busy, nil, muontrap, muontrap_gone, lost, mount, controllers, own, delegated, pipe, inherit,
    stdout, stderr, started, writable, ended, failed,
    exited, signaled,
    null, joint, held, sent, same_as_stdout,
    infinity, v1, v2,
    step, subject, reason,
    unknown_user, unknown_group, root, foreign_processes, own_cgroup, no_controller,
    died, panicked, timeout, garbage,
    status, user_us, system_us, max_rss_bytes, oom_killed, survivors, leftovers,
    id, owner, reference = "ref", os_pid, command, args, cgroup, uptime_ms, stdout_bytes, stderr_bytes,
    unacknowledged_bytes, window_bytes, stopping, orphaned, done,
    program, arg0, env, clear_env, cd, stdio, stop_signal, grace_ms, linger, lines, raw, uid, gid, groups, umask,
    nice, rlimits, oom_score_adj, no_new_privs, settings, path, version, key, file,
    value, announce, pty, rows, cols,
    logger, log, bytes,
    commands, at_work, ready, descriptors, output_bytes, pidfd, subreaper,
}
