//! The in-memory reference keeps the contract.

use std::sync::Arc;

use lastseen_store::{MemoryStore, SystemClock};

lastseen_store::contract_tests!((MemoryStore::new(Arc::new(SystemClock)), ()));
