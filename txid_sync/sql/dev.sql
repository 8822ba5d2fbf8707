-- What the demo asks.

-- unread --
-- Transactions with log rows that a cursor has not read.
select count(distinct txid) from {log} where txid >= %s or txid = any (%s)
