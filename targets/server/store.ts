/**
 * The durable state of a coordinator: an SQLite database (libsql) in WAL mode with full synchronisation. It holds the
 * newest version of every record, and the audit log, which can only grow.
 *
 * All commits that wait are written in one transaction: a process that is killed loses none that was acknowledged, and
 * of others everything or nothing. One process at a time holds the database, reading included; the lock goes with the
 * process, however it ends. Left out: keys of the server (see keys.ts), history of records.
 */
import { closeSync, existsSync, fsyncSync, openSync, rmSync } from 'node:fs';
import Database from 'libsql';
import { NetError } from '../../lib/base/errors.ts';
import type { AuditEntry, Change, Commit, RecordKind } from '../../lib/coordinator/model.ts';
import type { AuditQuery, AuditRow } from './types.ts';

type Connection = ReturnType<typeof Database>;
type Statement = Database.Statement<unknown[]>;

/** Marks the file as ours: "mote". */
const APPLICATION_ID = 0x6d6f_7465;
/** How long another process may take to let go of the database. */
const BUSY_MS = 2000;

/** In order, each once; what is released is never changed. */
const MIGRATIONS: readonly string[] = Object.freeze([
  `CREATE TABLE records (
     kind TEXT NOT NULL, tailnet TEXT NOT NULL, id TEXT NOT NULL, value TEXT NOT NULL,
     PRIMARY KEY (kind, tailnet, id)
   ) STRICT, WITHOUT ROWID;
   CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;
   CREATE TABLE audit (
     seq INTEGER PRIMARY KEY AUTOINCREMENT, atMs INTEGER NOT NULL, tailnet TEXT NOT NULL, actor TEXT NOT NULL,
     action TEXT NOT NULL, target TEXT NOT NULL, details TEXT NOT NULL
   ) STRICT;
   CREATE INDEX auditByTailnet ON audit (tailnet, seq);
   CREATE TRIGGER auditNoUpdate BEFORE UPDATE ON audit
     BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
   CREATE TRIGGER auditNoDelete BEFORE DELETE ON audit
     BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
   CREATE TRIGGER auditNoReplace BEFORE INSERT ON audit WHEN EXISTS (SELECT 1 FROM audit WHERE seq = NEW.seq)
     BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;`,
]);

/** Kinds in the order in which they are loaded: what others refer to first. */
const LOAD_ORDER: readonly RecordKind[] = Object.freeze([
  'tailnet',
  'user',
  'policy',
  'key',
  'address',
  'device',
  'token',
]);

/** A database that is open, and locked. */
export class Store {
  /** Transactions that were written, and the commits in them. */
  transactions = 0;
  commits = 0;
  readonly #path: string;
  readonly #database: Connection;
  readonly #begin: Statement;
  readonly #end: Statement;
  readonly #put: Statement;
  readonly #remove: Statement;
  readonly #append: Statement;
  readonly #count: Statement;

  /** Opens or makes the database. NetError `ERR_STORE` when another process has it, or it is not one that can be used. */
  constructor(path: string) {
    this.#path = path;
    if (!existsSync(path)) closeSync(openSync(path, 'a', 0o600));
    this.#database = this.#attempt('open', () => openDatabase(path));
    const prepare = (sql: string): Statement => this.#database.prepare<unknown[]>(sql);
    this.#begin = prepare('BEGIN IMMEDIATE');
    this.#end = prepare('COMMIT');
    this.#put = prepare('INSERT OR REPLACE INTO records (kind, tailnet, id, value) VALUES (?, ?, ?, ?)');
    this.#remove = prepare('DELETE FROM records WHERE kind = ? AND tailnet = ? AND id = ?');
    this.#count = prepare("INSERT OR REPLACE INTO counters (name, value) VALUES ('commit', ?)");
    this.#append = prepare(
      'INSERT INTO audit (atMs, tailnet, actor, action, target, details) VALUES (?, ?, ?, ?, ?, ?)',
    );
  }

  /** All records, those that others refer to first. Consume it before anything is committed. */
  *load(): Generator<Change> {
    const select = this.#database.prepare('SELECT tailnet, id, value FROM records WHERE kind = ?');
    for (const kind of LOAD_ORDER)
      for (const row of select.iterate(kind)) {
        const { tailnet, id, value } = row as { tailnet: string; id: string; value: string };
        yield { kind, tailnet, id, value: JSON.parse(value) } as Change;
      }
  }

  /** Id of the newest commit; 0: there was none. */
  get lastCommit(): number {
    const row = this.#database.prepare("SELECT value FROM counters WHERE name = 'commit'").get();
    return (row as { value: number } | undefined)?.value ?? 0;
  }

  /** Makes commits durable, all of them or, with NetError `ERR_STORE`, none. They are on disk when this returns. */
  commit(commits: readonly Commit[]): void {
    if (commits.length === 0) return;
    this.#attempt('write', () => {
      this.#begin.run();
      try {
        for (const commit of commits) this.#apply(commit);
        this.#count.run(commits.at(-1)!.id);
        this.#end.run();
      } catch (error) {
        if (this.#database.inTransaction) this.#database.exec('ROLLBACK');
        throw error;
      }
    });
    this.transactions++;
    this.commits += commits.length;
  }

  /** Lines of the audit log, newest first. */
  audit({ tailnet, limit, before = Number.MAX_SAFE_INTEGER }: AuditQuery): AuditRow[] {
    const isOne = tailnet !== undefined;
    const select = this.#database.prepare(
      `SELECT * FROM audit WHERE seq < ?${isOne ? ' AND tailnet = ?' : ''} ORDER BY seq DESC LIMIT ?`,
    );
    const rows = isOne ? select.all(before, tailnet, limit) : select.all(before, limit);
    return rows.map(row => {
      const { seq, atMs, tailnet, actor, action, target, details } = row as Omit<AuditRow, 'details'> & {
        details: string;
      };
      return { seq, atMs, tailnet, actor, action, target, details: JSON.parse(details) as AuditEntry['details'] };
    });
  }

  /** Writes a compact copy to a new file, mode 0600, and waits until it is on disk. NetError `ERR_STORE`. */
  backup(path: string): void {
    this.#attempt(`back up to ${path}`, () => {
      const file = openSync(path, 'wx', 0o600);
      try {
        this.#database.prepare<unknown[]>('VACUUM INTO ?').run(path);
        fsyncSync(file);
      } catch (error) {
        rmSync(path, { force: true });
        throw error;
      } finally {
        closeSync(file);
      }
    });
  }

  /** Lets go of the database. Safe to call twice. */
  close(): void {
    if (!this.#database.open) return;
    try {
      // Statements that are not collected yet keep the connection, and with it the lock, beyond `close`.
      for (const pragma of ['journal_mode = DELETE', 'locking_mode = NORMAL']) this.#database.pragma(pragma);
      this.#database.prepare('SELECT 1 FROM sqlite_schema').get();
    } finally {
      this.#database.close();
    }
  }

  #apply({ changes, audit }: Commit): void {
    for (const { kind, tailnet, id, value } of changes) {
      if (value === undefined) this.#remove.run(kind, tailnet, id);
      else this.#put.run(kind, tailnet, id, JSON.stringify(value));
    }
    if (audit === undefined) return;
    const { atMs, tailnet, actor, action, target, details } = audit;
    this.#append.run(Math.floor(atMs), tailnet, actor, action, target, JSON.stringify(details));
  }

  #attempt<T>(what: string, run: () => T): T {
    try {
      return run();
    } catch (cause) {
      const { code, message } = cause as { code?: string; message: string };
      if (code === 'SQLITE_BUSY')
        throw new NetError('ERR_STORE', `${this.#path} is in use by another process; is the server running?`, {
          cause,
        });
      throw new NetError('ERR_STORE', `cannot ${what} ${this.#path}: ${message}`, { cause });
    }
  }
}

function openDatabase(path: string): Connection {
  const database = new Database(path, { timeout: BUSY_MS });
  try {
    // INVARIANT: before the first access, so that the lock is kept from here on and there is no shared memory file.
    database.pragma('locking_mode = EXCLUSIVE');
    database.pragma('journal_mode = WAL');
    database.pragma('synchronous = FULL');
    database.exec('BEGIN IMMEDIATE; COMMIT');
    migrate(database);
    return database;
  } catch (error) {
    database.close();
    throw error;
  }
}

function migrate(database: Connection): void {
  const idOf = database.prepare('PRAGMA application_id').get() as { application_id: number };
  const isNew = database.prepare('SELECT 1 FROM sqlite_schema').get() === undefined;
  if (!isNew && idOf.application_id !== APPLICATION_ID) throw new Error('this is the database of another program');
  database.exec('BEGIN IMMEDIATE');
  try {
    database.exec(`PRAGMA application_id = ${APPLICATION_ID}`);
    database.exec(
      'CREATE TABLE IF NOT EXISTS migrations (version INTEGER PRIMARY KEY, appliedMs INTEGER NOT NULL) STRICT',
    );
    const last = database.prepare('SELECT coalesce(max(version), 0) AS version FROM migrations').get();
    const { version } = last as { version: number };
    if (version > MIGRATIONS.length)
      throw new Error(
        `it was written by a newer version of this program (${version}, this one knows ${MIGRATIONS.length})`,
      );
    const note = database.prepare('INSERT INTO migrations (version, appliedMs) VALUES (?, ?)');
    for (let next = version + 1; next <= MIGRATIONS.length; next++) {
      database.exec(MIGRATIONS[next - 1]!);
      note.run(next, Date.now());
    }
    database.exec('COMMIT');
  } catch (error) {
    if (database.inTransaction) database.exec('ROLLBACK');
    throw error;
  }
}
