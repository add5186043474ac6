//! Each example is a program of its own, next to this folder; this library is empty.
