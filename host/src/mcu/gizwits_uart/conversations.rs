//! Whole conversations in virtual time.
