//! Authentication providers: one file each. A provider knows no account and no SQL.

pub mod emailpass;
