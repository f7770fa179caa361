//! Every rule of replication as plain synchronous state machines.
