//! Reads what must hold before the first create.
