//! The cgroups of a command.
