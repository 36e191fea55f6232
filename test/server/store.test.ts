/** The store: what was acknowledged is there after any end, the audit log only grows, one process at a time. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { copyFileSync, existsSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import Database from 'libsql';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { Commit } from '../../lib/coordinator/model.ts';
import { Store } from '../../targets/server/store.ts';
import { fuzzRounds } from '../tools/scale.ts';
import { actualState, commitOf, expectedState, groupOf, isGroupEnd } from './store-model.ts';
import { makeFolder } from './support.ts';

const test = suite('store');

/** `npm test` 5, with CI=true 20, `npm run soak` 200. */
const CRASHES = fuzzRounds(5) > 5 ? fuzzRounds(20) : process.env['CI'] === undefined ? 5 : 20;

function inFolder(run: (folder: string) => void | Promise<void>): () => Promise<void> {
  return async () => {
    const folder = makeFolder();
    try {
      await run(folder);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  };
}

const SECOND: Commit = {
  id: 2,
  changes: [],
  audit: { atMs: 5, tailnet: '', actor: 'admin', action: 'b', target: '', details: {} },
};

test(
  `killed ${CRASHES} times at random, it holds what was acknowledged, entry by entry`,
  inFolder(async folder => {
    const path = join(folder, 'a.db');
    const program = fileURLToPath(new URL('store-model.ts', import.meta.url));
    let acknowledged = 0;
    for (let round = 0; round < CRASHES; round++) {
      const child = spawn(process.execPath, ['--import', 'tsx', program, path], {
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      let said = '';
      child.stdout.on('data', (chunk: Buffer) => {
        said += chunk;
      });
      await once(child.stdout, 'data');
      await new Promise(resolve => setTimeout(resolve, Math.random() * 60));
      child.kill('SIGKILL');
      await once(child, 'close');
      const whole = said.slice(0, said.lastIndexOf('\n'));
      const before = acknowledged;
      acknowledged = Number(whole.slice(whole.lastIndexOf('\n') + 1));
      assert.ok(acknowledged > before, `round ${round} went on from ${before}, got ${acknowledged}`);
      const store = new Store(path);
      const last = store.lastCommit;
      const nextGroup = groupOf(acknowledged + 1).at(-1)!.id;
      assert.ok(last === acknowledged || last === nextGroup, `acknowledged ${acknowledged}, found ${last}`);
      assert.is(actualState(store), expectedState(last));
      store.close();
      acknowledged = last;
    }
  }),
);

test(
  'a write-ahead log that is cut off anywhere gives the state between two groups',
  inFolder(folder => {
    const path = join(folder, 'a.db');
    const store = new Store(path);
    for (let group = 0; group < 12; group++) store.commit(groupOf(store.lastCommit + 1));
    const { size } = statSync(`${path}-wal`);
    const seen = new Set<number>();
    for (let i = 0; i <= 16; i++) {
      const copy = join(folder, `copy${i}.db`);
      copyFileSync(path, copy);
      copyFileSync(`${path}-wal`, `${copy}-wal`);
      truncateSync(`${copy}-wal`, Math.floor((size * i) / 16));
      const reopened = new Store(copy);
      const last = reopened.lastCommit;
      assert.ok(isGroupEnd(last), `${last} is in the middle of a group`);
      assert.is(actualState(reopened), expectedState(last));
      reopened.close();
      seen.add(last);
    }
    assert.ok(seen.size > 3, `states: ${[...seen]}`);
    assert.ok(seen.has(store.lastCommit), 'the whole log gives the whole state');
    store.close();
  }),
);

test(
  'a group is written as a whole or not at all',
  inFolder(folder => {
    const store = new Store(join(folder, 'a.db'));
    store.commit([commitOf(1)]);
    const broken = { ...SECOND, id: 3, audit: { ...SECOND.audit!, actor: undefined as unknown as string } };
    assert.throws(() => store.commit([commitOf(2), broken]), /cannot write/);
    assert.is(actualState(store), expectedState(1));
    store.commit([commitOf(2)]);
    assert.is(actualState(store), expectedState(2));
    store.close();
  }),
);

test(
  'lines of the audit log cannot be changed, removed or replaced',
  inFolder(folder => {
    const path = join(folder, 'a.db');
    const store = new Store(path);
    store.commit(groupOf(1));
    store.commit([SECOND]);
    const before = actualState(store);
    store.close();
    const raw = new Database(path);
    for (const sql of [
      "UPDATE audit SET actor = 'nobody'",
      'DELETE FROM audit',
      'INSERT OR REPLACE INTO audit SELECT seq, 1, tailnet, actor, action, target, details FROM audit',
    ])
      assert.throws(() => raw.exec(sql), /append-only/, sql);
    raw.close();
    const again = new Store(path);
    assert.is(actualState(again), before);
    again.close();
  }),
);

test(
  'the audit log is read from the newest on, by tailnet, in pages',
  inFolder(folder => {
    const store = new Store(join(folder, 'a.db'));
    const entry = (tailnet: string, target: string): Commit => ({
      id: Number(target),
      changes: [],
      audit: { atMs: 1, tailnet, actor: 'admin', action: 'x', target, details: { n: 1, is: true, text: 'é' } },
    });
    store.commit(['1', '2', '3', '4', '5'].map(target => entry(Number(target) % 2 === 0 ? 'even' : 'odd', target)));
    const targets = (query: Parameters<Store['audit']>[0]) => store.audit(query).map(({ target }) => target);
    assert.equal(targets({ limit: 2 }), ['5', '4']);
    assert.equal(targets({ limit: 2, before: store.audit({ limit: 2 })[1]!.seq }), ['3', '2']);
    assert.equal(targets({ limit: 10, tailnet: 'even' }), ['4', '2']);
    assert.equal(store.audit({ limit: 1 })[0]!.details, { n: 1, is: true, text: 'é' });
    store.close();
  }),
);

test(
  'one process at a time has it',
  inFolder(folder => {
    const path = join(folder, 'a.db');
    const store = new Store(path);
    assert.throws(
      () => new Store(path),
      (error: { code: string; message: string }) => error.code === 'ERR_STORE' && /another process/.test(error.message),
    );
    store.close();
    new Store(path).close();
  }),
);

test(
  'a file of its owner only, and no memory file beside it',
  inFolder(folder => {
    const path = join(folder, 'a.db');
    const store = new Store(path);
    store.commit([commitOf(1)]);
    for (const file of [path, `${path}-wal`]) assert.is(statSync(file).mode & 0o777, 0o600, file);
    assert.not.ok(existsSync(`${path}-shm`));
    store.close();
  }),
);

test(
  'what it cannot use it refuses, and leaves as it is',
  inFolder(folder => {
    const path = join(folder, 'a.db');
    writeFileSync(path, 'this is not a database, it only looks like a file'.repeat(100));
    assert.throws(() => new Store(path), /cannot open/);
    rmSync(path);
    const foreign = new Database(path);
    foreign.exec('CREATE TABLE x (y)');
    foreign.close();
    assert.throws(() => new Store(path), /another program/);
    rmSync(path);
    new Store(path).close();
    const newer = new Database(path);
    newer.exec('INSERT INTO migrations VALUES (999, 1)');
    newer.close();
    assert.throws(() => new Store(path), /newer version/);
  }),
);

test(
  'a backup is a whole store, its owner’s only, and does not go over a file',
  inFolder(folder => {
    const store = new Store(join(folder, 'a.db'));
    store.commit(groupOf(1));
    const copy = join(folder, 'b.db');
    store.backup(copy);
    assert.is(statSync(copy).mode & 0o777, 0o600);
    assert.throws(() => store.backup(copy), /EEXIST/);
    const restored = new Store(copy);
    assert.is(actualState(restored), actualState(store));
    restored.close();
    store.close();
  }),
);

test.run();
