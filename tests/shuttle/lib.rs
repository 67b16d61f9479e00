//! Only tests: see tests/hand_over.rs.
