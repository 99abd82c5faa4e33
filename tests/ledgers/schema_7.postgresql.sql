CREATE TABLE ledger_version (
    version SERIAL NOT NULL, 
    PRIMARY KEY (version)
);
CREATE TABLE requests (
    id VARCHAR(32) NOT NULL, 
    number_id VARCHAR(24) NOT NULL, 
    phone VARCHAR(40), 
    label TEXT, 
    warning TEXT, 
    reason TEXT, 
    active_number_id VARCHAR(24), 
    status VARCHAR(16) NOT NULL, 
    attempt INTEGER NOT NULL, 
    dry_run BOOLEAN NOT NULL, 
    channel VARCHAR(32) NOT NULL, 
    requested_by VARCHAR(32) NOT NULL, 
    requested_at DOUBLE PRECISION NOT NULL, 
    expires_at DOUBLE PRECISION, 
    decided_by VARCHAR(32), 
    decided_at DOUBLE PRECISION, 
    call_deadline DOUBLE PRECISION, 
    call_started_at DOUBLE PRECISION, 
    card_update_due DOUBLE PRECISION, 
    remind_at DOUBLE PRECISION, 
    posting_lease_until DOUBLE PRECISION NOT NULL, 
    card_posted BOOLEAN NOT NULL, 
    card_ts VARCHAR(32), 
    response_url TEXT, 
    response_url_replaces BOOLEAN NOT NULL, 
    PRIMARY KEY (id), 
    UNIQUE (active_number_id)
);
CREATE INDEX requests_active ON requests (requested_at) WHERE active_number_id IS NOT NULL;
CREATE INDEX requests_by_call_deadline ON requests (call_deadline, status) WHERE call_deadline IS NOT NULL;
CREATE INDEX requests_by_card_update ON requests (card_update_due) WHERE card_update_due IS NOT NULL;
CREATE INDEX requests_by_creation ON requests (requested_at, id);
CREATE INDEX requests_by_deadline ON requests (expires_at, status) WHERE expires_at IS NOT NULL;
CREATE INDEX requests_by_reminder ON requests (remind_at, status) WHERE remind_at IS NOT NULL;
CREATE TABLE outcomes (
    request_id VARCHAR(32) NOT NULL, 
    attempt INTEGER NOT NULL, 
    code VARCHAR(32) NOT NULL, 
    message TEXT NOT NULL, 
    retry_at DOUBLE PRECISION, 
    after_unknown BOOLEAN NOT NULL, 
    decided_by VARCHAR(32), 
    decided_at DOUBLE PRECISION, 
    settled_at DOUBLE PRECISION NOT NULL, 
    delivery_attempts INTEGER NOT NULL, 
    deliver_after DOUBLE PRECISION NOT NULL, 
    message_posted_at DOUBLE PRECISION, 
    delivered_at DOUBLE PRECISION, 
    correction BOOLEAN NOT NULL, 
    undeliverable_since DOUBLE PRECISION, 
    closed_at DOUBLE PRECISION, 
    number_id VARCHAR(24) NOT NULL, 
    audit_after DOUBLE PRECISION, 
    PRIMARY KEY (request_id, attempt), 
    FOREIGN KEY(request_id) REFERENCES requests (id)
);
CREATE INDEX outcomes_by_audit ON outcomes (audit_after) WHERE audit_after IS NOT NULL;
CREATE INDEX outcomes_by_number ON outcomes (number_id, code);
CREATE INDEX outcomes_by_settlement ON outcomes (settled_at);
CREATE INDEX outcomes_undelivered ON outcomes (deliver_after) WHERE delivered_at IS NULL;
CREATE INDEX outcomes_undelivered_by_age ON outcomes (settled_at) WHERE delivered_at IS NULL;
CREATE TABLE write_check (
    content TEXT NOT NULL
);
INSERT INTO ledger_version (version) VALUES (7);
INSERT INTO requests (id, number_id, phone, label, warning, reason, active_number_id, status, attempt, dry_run, channel, requested_by, requested_at, expires_at, decided_by, decided_at, call_deadline, call_started_at, card_update_due, remind_at, posting_lease_until, card_posted, card_ts, response_url, response_url_replaces) VALUES ('00000000000000000000000000000001', '000000000000000000000001', NULL, NULL, NULL, NULL, '000000000000000000000001', 'pending', 0, false, 'C0NUMBERS', 'U0ANA', 1000.0, 1900.0, NULL, NULL, NULL, NULL, NULL, NULL, 1015.0, true, '1.000001', NULL, false);
INSERT INTO requests (id, number_id, phone, label, warning, reason, active_number_id, status, attempt, dry_run, channel, requested_by, requested_at, expires_at, decided_by, decided_at, call_deadline, call_started_at, card_update_due, remind_at, posting_lease_until, card_posted, card_ts, response_url, response_url_replaces) VALUES ('00000000000000000000000000000002', '000000000000000000000002', NULL, NULL, NULL, NULL, '000000000000000000000002', 'pending', 0, false, 'C0NUMBERS', 'U0ANA', 1000.0, 1900.0, NULL, NULL, NULL, NULL, NULL, NULL, 1015.0, false, NULL, 'https://hooks.slack.com/commands/T0/2/x', false);
INSERT INTO requests (id, number_id, phone, label, warning, reason, active_number_id, status, attempt, dry_run, channel, requested_by, requested_at, expires_at, decided_by, decided_at, call_deadline, call_started_at, card_update_due, remind_at, posting_lease_until, card_posted, card_ts, response_url, response_url_replaces) VALUES ('00000000000000000000000000000003', '000000000000000000000003', NULL, NULL, NULL, NULL, '000000000000000000000003', 'confirmed', 1, false, 'C0NUMBERS', 'U0ANA', 1000.0, NULL, 'U0BEN', 1100.0, 1125.0, 1100.5, NULL, NULL, 1015.0, true, '3.000001', 'https://hooks.slack.com/actions/T0/3/x', true);
INSERT INTO requests (id, number_id, phone, label, warning, reason, active_number_id, status, attempt, dry_run, channel, requested_by, requested_at, expires_at, decided_by, decided_at, call_deadline, call_started_at, card_update_due, remind_at, posting_lease_until, card_posted, card_ts, response_url, response_url_replaces) VALUES ('00000000000000000000000000000004', '000000000000000000000004', '+61480000004', 'Support line', NULL, 'campaign ended', NULL, 'succeeded', 1, false, 'C0NUMBERS', 'U0ANA', 1000.0, NULL, 'U0BEN', 1100.0, NULL, 1100.5, NULL, NULL, 1015.0, true, '4.000001', 'https://hooks.slack.com/actions/T0/4/x', true);
INSERT INTO requests (id, number_id, phone, label, warning, reason, active_number_id, status, attempt, dry_run, channel, requested_by, requested_at, expires_at, decided_by, decided_at, call_deadline, call_started_at, card_update_due, remind_at, posting_lease_until, card_posted, card_ts, response_url, response_url_replaces) VALUES ('00000000000000000000000000000005', '000000000000000000000005', NULL, NULL, NULL, NULL, '000000000000000000000005', 'unknown', 1, false, 'C0NUMBERS', 'U0ANA', 1000.0, 2005.0, 'U0BEN', 1100.0, NULL, 1100.5, NULL, NULL, 1015.0, true, '5.000001', 'https://hooks.slack.com/actions/T0/5/x', true);
INSERT INTO requests (id, number_id, phone, label, warning, reason, active_number_id, status, attempt, dry_run, channel, requested_by, requested_at, expires_at, decided_by, decided_at, call_deadline, call_started_at, card_update_due, remind_at, posting_lease_until, card_posted, card_ts, response_url, response_url_replaces) VALUES ('00000000000000000000000000000006', '000000000000000000000006', NULL, NULL, NULL, NULL, NULL, 'refused', 1, false, 'C0NUMBERS', 'U0ANA', 1000.0, NULL, 'U0BEN', 1100.0, NULL, 1100.5, NULL, NULL, 1015.0, true, '6.000001', 'https://hooks.slack.com/actions/T0/6/x', true);
INSERT INTO requests (id, number_id, phone, label, warning, reason, active_number_id, status, attempt, dry_run, channel, requested_by, requested_at, expires_at, decided_by, decided_at, call_deadline, call_started_at, card_update_due, remind_at, posting_lease_until, card_posted, card_ts, response_url, response_url_replaces) VALUES ('00000000000000000000000000000007', '000000000000000000000007', NULL, NULL, NULL, NULL, NULL, 'kept', 0, false, 'C0NUMBERS', 'U0ANA', 1000.0, NULL, 'U0BEN', 1100.0, NULL, NULL, NULL, NULL, 1015.0, true, '7.000001', 'https://hooks.slack.com/actions/T0/7/x', true);
INSERT INTO requests (id, number_id, phone, label, warning, reason, active_number_id, status, attempt, dry_run, channel, requested_by, requested_at, expires_at, decided_by, decided_at, call_deadline, call_started_at, card_update_due, remind_at, posting_lease_until, card_posted, card_ts, response_url, response_url_replaces) VALUES ('00000000000000000000000000000008', '000000000000000000000008', NULL, NULL, NULL, NULL, '000000000000000000000008', 'confirmed', 1, false, 'C0NUMBERS', 'U0ANA', 1000.0, NULL, 'U0BEN', 1100.0, 1125.0, NULL, NULL, NULL, 1015.0, true, '8.000001', 'https://hooks.slack.com/actions/T0/8/x', true);
INSERT INTO requests (id, number_id, phone, label, warning, reason, active_number_id, status, attempt, dry_run, channel, requested_by, requested_at, expires_at, decided_by, decided_at, call_deadline, call_started_at, card_update_due, remind_at, posting_lease_until, card_posted, card_ts, response_url, response_url_replaces) VALUES ('00000000000000000000000000000009', '000000000000000000000009', NULL, NULL, NULL, NULL, '000000000000000000000009', 'pending', 0, false, 'C0NUMBERS', 'U0ANA', 1000.0, 1900.0, NULL, NULL, NULL, NULL, 1115.0, NULL, 1015.0, true, '9.000001', NULL, false);
INSERT INTO outcomes (request_id, attempt, code, message, retry_at, after_unknown, decided_by, decided_at, settled_at, delivery_attempts, deliver_after, message_posted_at, delivered_at, correction, undeliverable_since, closed_at, number_id, audit_after) VALUES ('00000000000000000000000000000004', 1, 'succeeded', 'Virtual number has been unsubscribed successfully.', NULL, false, 'U0BEN', 1100.0, 1105.0, 1, 1120.0, 1106.0, 1106.0, false, NULL, NULL, '000000000000000000000004', NULL);
INSERT INTO outcomes (request_id, attempt, code, message, retry_at, after_unknown, decided_by, decided_at, settled_at, delivery_attempts, deliver_after, message_posted_at, delivered_at, correction, undeliverable_since, closed_at, number_id, audit_after) VALUES ('00000000000000000000000000000005', 1, 'timeout', '', NULL, false, 'U0BEN', 1100.0, 1105.0, 1, 1120.0, 1106.0, 1106.0, false, NULL, NULL, '000000000000000000000005', NULL);
INSERT INTO outcomes (request_id, attempt, code, message, retry_at, after_unknown, decided_by, decided_at, settled_at, delivery_attempts, deliver_after, message_posted_at, delivered_at, correction, undeliverable_since, closed_at, number_id, audit_after) VALUES ('00000000000000000000000000000006', 1, 'rejected', 'Not yours', NULL, false, 'U0BEN', 1100.0, 1105.0, 1, 1120.0, NULL, NULL, false, NULL, NULL, '000000000000000000000006', 1105.0);
INSERT INTO outcomes (request_id, attempt, code, message, retry_at, after_unknown, decided_by, decided_at, settled_at, delivery_attempts, deliver_after, message_posted_at, delivered_at, correction, undeliverable_since, closed_at, number_id, audit_after) VALUES ('00000000000000000000000000000007', 0, 'kept', '', NULL, false, 'U0BEN', 1100.0, 1100.0, 1, 1115.0, 1106.0, 1106.0, false, NULL, NULL, '000000000000000000000007', NULL)
