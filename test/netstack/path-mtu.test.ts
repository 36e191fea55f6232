import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { PATH_MTU_EXPIRY_MS, PathMtuTable } from '../../lib/netstack/path-mtu.ts';
import { ip, join } from '../packet/build.ts';

const test = suite('netstack/path-mtu');
const get = (table: PathMtuTable, nowMs: number, text: string) => table.get(nowMs, ip(text), 0, ip(text).length);
const lower = (table: PathMtuTable, nowMs: number, text: string, mtu: number) =>
  table.lower(nowMs, ip(text), 0, ip(text).length, mtu);

test('a path without a report has the link’s MTU', () => {
  const table = new PathMtuTable(1420, 4);
  assert.is(get(table, 0, '10.0.0.1'), 1420);
  lower(table, 0, '10.0.0.1', 1300);
  assert.is(get(table, 0, '10.0.0.2'), 1420);
  assert.is(get(table, 0, '10.0.0.1'), 1300);
});

test('addresses are read at their offset, and families do not mix', () => {
  const table = new PathMtuTable(1420, 4);
  const buf = join([9, 9], ip('fd00::1'));
  assert.is(table.lower(0, buf, 2, 16, 1300), 1300);
  assert.is(get(table, 0, 'fd00::1'), 1300);
  buf.fill(0);
  assert.is(get(table, 0, 'fd00::1'), 1300);
  // the same hash: 16 bytes of which three words are zero
  lower(table, 0, '::5', 1290);
  assert.is(get(table, 0, '0.0.0.5'), 1420);
});

test('a report only ever lowers', () => {
  const table = new PathMtuTable(1420, 4);
  assert.is(lower(table, 0, '10.0.0.1', 9000), 1420);
  assert.is(table.size, 0);
  lower(table, 0, '10.0.0.1', 1000);
  assert.is(lower(table, 0, '10.0.0.1', 1200), 1000);
  assert.is(lower(table, 0, '10.0.0.1', 900), 900);
  assert.is(table.size, 1);
});

test('nobody can push an MTU below the minimum of its family', () => {
  const table = new PathMtuTable(1420, 4);
  assert.is(lower(table, 0, '10.0.0.1', 68), 576);
  assert.is(lower(table, 0, '10.0.0.1', 0), 576);
  assert.is(lower(table, 0, 'fd00::1', 576), 1280);
});

test('on a link at the minimum, nothing is remembered', () => {
  const table = new PathMtuTable(1280, 4);
  assert.is(lower(table, 0, 'fd00::1', 1000), 1280);
  assert.is(table.size, 0);
});

test('a report is believed until ten minutes have passed, to the millisecond', () => {
  const table = new PathMtuTable(1420, 4);
  lower(table, 1000, '10.0.0.1', 1300);
  assert.is(get(table, 1000 + PATH_MTU_EXPIRY_MS - 1, '10.0.0.1'), 1300);
  assert.is(get(table, 1000 + PATH_MTU_EXPIRY_MS, '10.0.0.1'), 1420);
  assert.is(table.size, 0);
});

test('a full table forgets its oldest report', () => {
  const table = new PathMtuTable(1420, 3);
  for (let i = 1; i <= 5; i++) lower(table, i, `10.0.0.${i}`, 1300);
  assert.is(table.size, 3);
  assert.equal(
    [1, 2, 3, 4, 5].map(i => get(table, 5, `10.0.0.${i}`)),
    [1420, 1420, 1300, 1300, 1300],
  );
});

test.run();
