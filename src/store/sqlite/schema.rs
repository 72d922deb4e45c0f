//! The tables, as migrations.
//!
//! Invariants: a migration that was ever released is never edited, only followed by another; `user_version` is the number of
//! migrations applied. Nothing on the ingest path has a random secondary index: `events`, `seen` and `pending` grow at their
//! right end, search columns go into sorted blocks (`segments`), and only what outcomes touch at Pipedrive's pace has
//! indexes of its own. Rule, account, source, kind, field and version names are integers from `names`.

/// `PRAGMA application_id`: "PWRT".
pub(super) const APPLICATION_ID: i32 = 0x5057_5254;

/// In order; the file's `user_version` says how many it has had.
pub(super) const MIGRATIONS: &[&str] =
    &[INITIAL, AFTER, RELEASED, WAITING, ALIASES, AS_OF, OUTCOMES, SHADOWS, REPLAYS, CAUSES, SEEN];

/// Which other lanes' tails a delivery waits for: a JSON array of ordering keys; null for none.
const AFTER: &str = "ALTER TABLE pending ADD COLUMN after TEXT;";

/// Observed deliveries may become pending again.
const RELEASED: &str = "ALTER TABLE pending ADD COLUMN released_at INTEGER;";

/// Why a delivery waits, for lists.
const WAITING: &str = "ALTER TABLE pending ADD COLUMN reason TEXT;";

/// Ids that are one user, in order within their class; the whole lanes that a delivery comes behind, as `after`; what is to be said of an
/// event.
const ALIASES: &str = "
CREATE TABLE aliases (id TEXT PRIMARY KEY, class INTEGER NOT NULL, place INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX aliases_class ON aliases (class, place);
ALTER TABLE pending ADD COLUMN behind TEXT;
ALTER TABLE events ADD COLUMN note TEXT;
ALTER TABLE unmatched ADD COLUMN note TEXT;
";

/// Which aliases have joined a class, each pair at its newest, so that a class can be taken apart as of an event; of older ones only the
/// class is known. Who is to be erased is so as of an event; of older wishes, as of now.
const AS_OF: &str = "
CREATE TABLE joined (
  id INTEGER PRIMARY KEY, user TEXT NOT NULL, previous TEXT NOT NULL, seq INTEGER NOT NULL, UNIQUE (user, previous));
CREATE INDEX joined_previous ON joined (previous);
INSERT INTO joined (user, previous, seq)
  SELECT f.id, o.id, f.class FROM aliases f JOIN aliases o ON o.class = f.class AND o.place > f.place
  WHERE f.place = (SELECT min(place) FROM aliases WHERE class = f.class) ORDER BY f.class, o.place DESC;
UPDATE kv SET value = CAST(json_object(
    'user', key,
    'ids', json((SELECT json_group_array(id ORDER BY place) FROM aliases WHERE class = (SELECT class FROM aliases WHERE id = kv.key))),
    'as_of', json_object('seq', (SELECT last_seq FROM counters), 'at', json(CAST(value AS TEXT)))) AS BLOB)
  WHERE space = 'forget';
";

/// How the deliveries of each script set ended, counted where they end: what retention drops still counts.
const OUTCOMES: &str = "
CREATE TABLE outcomes (
  version INTEGER NOT NULL, rule INTEGER NOT NULL, state INTEGER NOT NULL, deliveries INTEGER NOT NULL,
  PRIMARY KEY (version, rule, state)) WITHOUT ROWID;
INSERT INTO outcomes SELECT version, rule, state, count(*) FROM runs WHERE version IS NOT NULL GROUP BY version, rule, state;
";

/// What became of the runs of shadow scripts, and the newest that differ; these go with their events.
const SHADOWS: &str = "
CREATE TABLE shadow_counts (
  rule INTEGER NOT NULL, scripts TEXT NOT NULL, verdict TEXT NOT NULL, runs INTEGER NOT NULL, since INTEGER NOT NULL,
  PRIMARY KEY (rule, scripts, verdict)) WITHOUT ROWID;
CREATE TABLE shadow_differences (
  seq INTEGER NOT NULL, rule INTEGER NOT NULL, at INTEGER NOT NULL, difference BLOB NOT NULL, PRIMARY KEY (seq, rule)) WITHOUT ROWID;
CREATE INDEX shadow_differences_rule ON shadow_differences (rule, seq);
";

/// How a replay goes about what was done before: bits, see `codes`; null for the usual. An event with `replay_seq` and without `replay_rule`
/// is that one as a person edited it. The index holds replays only, so that intake pays nothing for it.
const REPLAYS: &str = "
ALTER TABLE events ADD COLUMN replay_options INTEGER;
ALTER TABLE unmatched ADD COLUMN replay_options INTEGER;
CREATE INDEX events_replays ON events (replay_seq) WHERE replay_seq IS NOT NULL;
";

/// Why deliveries failed, as far as others fail for the same reason.
const CAUSES: &str = "
CREATE TABLE causes (id TEXT PRIMARY KEY, class TEXT NOT NULL, what TEXT NOT NULL) WITHOUT ROWID;
ALTER TABLE runs ADD COLUMN cause TEXT;
";

/// What lists and webhooks have told of an entity since its known values were written, and the time of that change in seconds; entries of the
/// match index that an entity has from one that went into it.
const SEEN: &str = "
ALTER TABLE known ADD COLUMN seen BLOB;
ALTER TABLE known ADD COLUMN seen_version INTEGER;
ALTER TABLE match_index ADD COLUMN merged INTEGER;
";

const INITIAL: &str = "
CREATE TABLE names (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);

-- One row, written with every transaction that changes it: counting a table of payloads would read all of it.
CREATE TABLE counters (
  id INTEGER PRIMARY KEY CHECK (id = 1), last_seq INTEGER NOT NULL, events INTEGER NOT NULL, unmatched INTEGER NOT NULL,
  pending INTEGER NOT NULL, failed INTEGER NOT NULL, rejected INTEGER NOT NULL);
INSERT INTO counters VALUES (1, 0, 0, 0, 0, 0, 0);

-- Never updated. Times are nanoseconds since 1970.
CREATE TABLE events (
  seq INTEGER PRIMARY KEY, at INTEGER NOT NULL, source INTEGER NOT NULL, kind INTEGER NOT NULL, message_id TEXT NOT NULL,
  user TEXT, name TEXT, replay_seq INTEGER, replay_rule INTEGER, payload BLOB NOT NULL);

-- Events that no rule wanted; same shape, other promises.
CREATE TABLE unmatched (
  seq INTEGER PRIMARY KEY, at INTEGER NOT NULL, source INTEGER NOT NULL, kind INTEGER NOT NULL, message_id TEXT NOT NULL,
  user TEXT, name TEXT, replay_seq INTEGER, replay_rule INTEGER, payload BLOB NOT NULL);

-- The dedupe window, in order of arrival; it outlives events that retention took early.
CREATE TABLE seen (seq INTEGER PRIMARY KEY, at INTEGER NOT NULL, source INTEGER NOT NULL, message_id TEXT NOT NULL);

-- Unfinished deliveries. `part` is the unit of ownership should several daemons ever share a store.
CREATE TABLE pending (
  seq INTEGER NOT NULL, rule INTEGER NOT NULL, position INTEGER NOT NULL, account INTEGER NOT NULL, part INTEGER NOT NULL,
  key TEXT NOT NULL, at INTEGER NOT NULL, kind INTEGER NOT NULL, attempts INTEGER NOT NULL DEFAULT 0, run_at INTEGER,
  first_failed_at INTEGER, PRIMARY KEY (seq, rule)) WITHOUT ROWID;

-- Finished deliveries.
CREATE TABLE runs (
  seq INTEGER NOT NULL, rule INTEGER NOT NULL, position INTEGER NOT NULL, account INTEGER NOT NULL, at INTEGER NOT NULL,
  kind INTEGER NOT NULL, state INTEGER NOT NULL, attempts INTEGER NOT NULL, finished_at INTEGER NOT NULL, version INTEGER,
  reason TEXT, PRIMARY KEY (seq, rule)) WITHOUT ROWID;
-- Only failures pay for an index: dead 3, partial 4, uncertain 5.
CREATE INDEX runs_failed ON runs (seq) WHERE state IN (3, 4, 5);

CREATE TABLE plans (seq INTEGER NOT NULL, rule INTEGER NOT NULL, plan BLOB NOT NULL, PRIMARY KEY (seq, rule)) WITHOUT ROWID;

CREATE TABLE records (
  id INTEGER PRIMARY KEY, seq INTEGER NOT NULL, rule INTEGER NOT NULL, attempt INTEGER NOT NULL, record BLOB NOT NULL,
  UNIQUE (seq, rule, attempt));

-- Search columns of a few thousand events each: hashes, sorted, with the events' offsets from `first`.
CREATE TABLE segments (
  col INTEGER NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL, data BLOB NOT NULL, PRIMARY KEY (col, first));

CREATE TABLE match_index (
  account INTEGER NOT NULL, kind INTEGER NOT NULL, field INTEGER NOT NULL, value TEXT NOT NULL, id TEXT NOT NULL,
  PRIMARY KEY (account, kind, field, value, id)) WITHOUT ROWID;
CREATE INDEX match_reverse ON match_index (account, kind, id);

CREATE TABLE known (
  account INTEGER NOT NULL, kind INTEGER NOT NULL, id TEXT NOT NULL, known BLOB NOT NULL,
  PRIMARY KEY (account, kind, id)) WITHOUT ROWID;

CREATE TABLE kv (space TEXT NOT NULL, key TEXT NOT NULL, value BLOB NOT NULL, PRIMARY KEY (space, key)) WITHOUT ROWID;

CREATE TABLE rejected (
  id INTEGER PRIMARY KEY AUTOINCREMENT, at INTEGER NOT NULL, source TEXT NOT NULL, message_id TEXT, kind TEXT,
  reason TEXT NOT NULL, payload BLOB NOT NULL);
";
