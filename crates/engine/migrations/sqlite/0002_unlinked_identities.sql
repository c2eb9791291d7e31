-- Logins that nobody became a customer or a member of the staff with, for the sweep. By the time that never changes: an update of an indexed column costs
-- PostgreSQL an entry in each index. Without the CASE, SQLite takes `identities_by_actor` and walks the young ones, too.
CREATE INDEX identities_unlinked ON identities (tenant_id, created_at) WHERE CASE WHEN actor_id IS NULL AND actor_type IN ('customer', 'user') THEN 1 END = 1;

-- As at the end of the first migration.
INSERT INTO sqlite_stat1 (tbl, idx, stat) VALUES ('identities', 'identities_unlinked', '10000 1000 1');
ANALYZE sqlite_schema;
