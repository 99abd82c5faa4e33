CREATE TABLE ledger_version (
    version SERIAL NOT NULL, 
    PRIMARY KEY (version)
);
CREATE TABLE requests (
    id VARCHAR(32) NOT NULL, 
    number_id VARCHAR(24) NOT NULL, 
    phone VARCHAR(40), 
    label TEXT, 
    reason TEXT, 
    open_number VARCHAR(24), 
    state VARCHAR(16) NOT NULL, 
    attempt INTEGER NOT NULL, 
    dry_run BOOLEAN NOT NULL, 
    channel VARCHAR(32) NOT NULL, 
    asked_by VARCHAR(32) NOT NULL, 
    asked_at DOUBLE PRECISION NOT NULL, 
    open_until DOUBLE PRECISION, 
    decided_by VARCHAR(32), 
    decided_at DOUBLE PRECISION, 
    call_ends_by DOUBLE PRECISION, 
    call_started_at DOUBLE PRECISION, 
    card_due DOUBLE PRECISION, 
    posting_until DOUBLE PRECISION NOT NULL, 
    card_posted BOOLEAN NOT NULL, 
    card_ts VARCHAR(32), 
    reply_url TEXT, 
    reply_replaces BOOLEAN NOT NULL, 
    PRIMARY KEY (id), 
    UNIQUE (open_number)
);
CREATE INDEX requests_by_state ON requests (state, open_until);
CREATE INDEX requests_by_card_due ON requests (card_due);
CREATE INDEX requests_by_number ON requests (number_id);
CREATE TABLE endings (
    request_id VARCHAR(32) NOT NULL, 
    attempt INTEGER NOT NULL, 
    kind VARCHAR(16) NOT NULL, 
    message TEXT NOT NULL, 
    retry_at DOUBLE PRECISION, 
    after_unknown BOOLEAN NOT NULL, 
    decided_by VARCHAR(32), 
    decided_at DOUBLE PRECISION, 
    ended_at DOUBLE PRECISION NOT NULL, 
    tellings INTEGER NOT NULL, 
    tell_after DOUBLE PRECISION NOT NULL, 
    posted_at DOUBLE PRECISION, 
    told_at DOUBLE PRECISION, 
    correction BOOLEAN NOT NULL, 
    PRIMARY KEY (request_id, attempt), 
    FOREIGN KEY(request_id) REFERENCES requests (id)
);
CREATE INDEX endings_untold ON endings (told_at, tell_after);
INSERT INTO ledger_version (version) VALUES (3);
INSERT INTO requests (id, number_id, phone, label, reason, open_number, state, attempt, dry_run, channel, asked_by, asked_at, open_until, decided_by, decided_at, call_ends_by, call_started_at, card_due, posting_until, card_posted, card_ts, reply_url, reply_replaces) VALUES ('00000000000000000000000000000001', '000000000000000000000001', NULL, NULL, 'reason 1', '000000000000000000000001', 'pending', 0, false, 'C0NUMBERS', 'U0ANA', 1001.0, 1901.0, NULL, NULL, NULL, NULL, NULL, 1016.0, true, '1.000001', NULL, false);
INSERT INTO requests (id, number_id, phone, label, reason, open_number, state, attempt, dry_run, channel, asked_by, asked_at, open_until, decided_by, decided_at, call_ends_by, call_started_at, card_due, posting_until, card_posted, card_ts, reply_url, reply_replaces) VALUES ('00000000000000000000000000000002', '000000000000000000000002', NULL, NULL, 'reason 2', '000000000000000000000002', 'pending', 0, false, 'C0NUMBERS', 'U0ANA', 1002.0, 1902.0, NULL, NULL, NULL, NULL, NULL, 0.0, false, NULL, NULL, false);
INSERT INTO requests (id, number_id, phone, label, reason, open_number, state, attempt, dry_run, channel, asked_by, asked_at, open_until, decided_by, decided_at, call_ends_by, call_started_at, card_due, posting_until, card_posted, card_ts, reply_url, reply_replaces) VALUES ('00000000000000000000000000000003', '000000000000000000000003', NULL, NULL, 'reason 3', '000000000000000000000003', 'confirmed', 1, false, 'C0NUMBERS', 'U0ANA', 1003.0, NULL, 'U0BEN', 1100.0, 1125.0, 1100.5, NULL, 1018.0, true, '3.000001', NULL, false);
INSERT INTO requests (id, number_id, phone, label, reason, open_number, state, attempt, dry_run, channel, asked_by, asked_at, open_until, decided_by, decided_at, call_ends_by, call_started_at, card_due, posting_until, card_posted, card_ts, reply_url, reply_replaces) VALUES ('00000000000000000000000000000008', '000000000000000000000008', NULL, NULL, 'reason 8', '000000000000000000000008', 'confirmed', 1, false, 'C0NUMBERS', 'U0ANA', 1008.0, NULL, 'U0BEN', 1100.0, 1125.0, NULL, NULL, 1023.0, true, '8.000001', NULL, false);
INSERT INTO requests (id, number_id, phone, label, reason, open_number, state, attempt, dry_run, channel, asked_by, asked_at, open_until, decided_by, decided_at, call_ends_by, call_started_at, card_due, posting_until, card_posted, card_ts, reply_url, reply_replaces) VALUES ('00000000000000000000000000000009', '000000000000000000000009', NULL, NULL, 'reason 9', '000000000000000000000009', 'pending', 0, false, 'C0NUMBERS', 'U0ANA', 1009.0, 1909.0, NULL, NULL, NULL, NULL, 1115.0, 1024.0, true, '9.000001', NULL, false);
INSERT INTO requests (id, number_id, phone, label, reason, open_number, state, attempt, dry_run, channel, asked_by, asked_at, open_until, decided_by, decided_at, call_ends_by, call_started_at, card_due, posting_until, card_posted, card_ts, reply_url, reply_replaces) VALUES ('00000000000000000000000000000004', '000000000000000000000004', '+61 480 000 000', 'Support line', 'reason 4', NULL, 'succeeded', 1, false, 'C0NUMBERS', 'U0ANA', 1004.0, NULL, 'U0BEN', 1100.0, NULL, 1100.5, NULL, 1019.0, true, '4.000001', NULL, false);
INSERT INTO requests (id, number_id, phone, label, reason, open_number, state, attempt, dry_run, channel, asked_by, asked_at, open_until, decided_by, decided_at, call_ends_by, call_started_at, card_due, posting_until, card_posted, card_ts, reply_url, reply_replaces) VALUES ('00000000000000000000000000000005', '000000000000000000000005', '+61 480 000 000', 'Support line', 'reason 5', '000000000000000000000005', 'unknown', 1, false, 'C0NUMBERS', 'U0ANA', 1005.0, 2010.0, 'U0BEN', 1100.0, NULL, 1100.5, NULL, 1020.0, true, '5.000001', NULL, false);
INSERT INTO requests (id, number_id, phone, label, reason, open_number, state, attempt, dry_run, channel, asked_by, asked_at, open_until, decided_by, decided_at, call_ends_by, call_started_at, card_due, posting_until, card_posted, card_ts, reply_url, reply_replaces) VALUES ('00000000000000000000000000000006', '000000000000000000000006', '+61 480 000 000', 'Support line', 'reason 6', NULL, 'refused', 1, false, 'C0NUMBERS', 'U0ANA', 1006.0, NULL, 'U0BEN', 1100.0, NULL, 1100.5, NULL, 1021.0, true, '6.000001', NULL, false);
INSERT INTO requests (id, number_id, phone, label, reason, open_number, state, attempt, dry_run, channel, asked_by, asked_at, open_until, decided_by, decided_at, call_ends_by, call_started_at, card_due, posting_until, card_posted, card_ts, reply_url, reply_replaces) VALUES ('00000000000000000000000000000007', '000000000000000000000007', NULL, NULL, 'reason 7', NULL, 'kept', 0, false, 'C0NUMBERS', 'U0ANA', 1007.0, NULL, 'U0BEN', 1100.0, NULL, NULL, NULL, 1022.0, true, '7.000001', NULL, false);
INSERT INTO endings (request_id, attempt, kind, message, retry_at, after_unknown, decided_by, decided_at, ended_at, tellings, tell_after, posted_at, told_at, correction) VALUES ('00000000000000000000000000000004', 1, 'succeeded', 'Virtual number has been unsubscribed successfully.', NULL, false, 'U0BEN', 1100.0, 1110.0, 1, 1125.0, 1111.0, 1112.0, false);
INSERT INTO endings (request_id, attempt, kind, message, retry_at, after_unknown, decided_by, decided_at, ended_at, tellings, tell_after, posted_at, told_at, correction) VALUES ('00000000000000000000000000000005', 1, 'timeout', '', NULL, false, 'U0BEN', 1100.0, 1110.0, 1, 1125.0, 1111.0, 1112.0, false);
INSERT INTO endings (request_id, attempt, kind, message, retry_at, after_unknown, decided_by, decided_at, ended_at, tellings, tell_after, posted_at, told_at, correction) VALUES ('00000000000000000000000000000006', 1, 'declined', 'No.', NULL, false, 'U0BEN', 1100.0, 1110.0, 1, 1125.0, 1111.0, NULL, false);
INSERT INTO endings (request_id, attempt, kind, message, retry_at, after_unknown, decided_by, decided_at, ended_at, tellings, tell_after, posted_at, told_at, correction) VALUES ('00000000000000000000000000000007', 0, 'kept', '', NULL, false, 'U0BEN', 1100.0, 1100.0, 1, 1115.0, NULL, 1101.0, false);
