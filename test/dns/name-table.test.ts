/** The table of names: short names, changes of devices, who has a name, limits. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { formatAddress } from '../../lib/base/address.ts';
import { NAME_LIMITS_LARGE, NAME_LIMITS_SMALL } from '../../lib/dns/limits.ts';
import { normalName, parseReverseName, reverseName } from '../../lib/dns/name.ts';
import { NameTable } from '../../lib/dns/name-table.ts';
import { address, prefixesOf, SUFFIX, sampleTable } from './support.ts';

const test = suite('dns/name-table');

function resolve(table: NameTable, name: string): string {
  return (table.resolve(name) ?? ['nothing'])
    .map(found => (typeof found === 'string' ? found : formatAddress(found)))
    .join(' ');
}

test('a name resolves full, with a dot at the end, and short', () => {
  const table = sampleTable();
  for (const name of [`printer.${SUFFIX}`, `printer.${SUFFIX}.`, 'printer', 'PRINTER'])
    assert.is(resolve(table, name), '100.64.0.7 fd7a:115c:a1e0::7', name);
  assert.is(resolve(table, 'me'), '100.64.0.1 fd7a:115c:a1e0::1');
  assert.is(resolve(table, 'guest.other.example'), '100.64.0.8');
  for (const name of ['printer.', 'guest', 'nobody', '', '.', 'a..b', 'pri nter', 'printer.home', 'x'.repeat(300)])
    assert.is(resolve(table, name), 'nothing', name);
});

test('search domains come after the suffix, in their order', () => {
  const table = sampleTable({
    Domains: ['corp.example', 'lab.example', 'b d'],
    ExtraRecords: [
      { Name: 'printer.corp.example', Value: '10.0.0.1' },
      { Name: 'db.lab.example', Value: '10.0.0.2' },
      { Name: 'db.corp.example', Value: '10.0.0.3' },
      { Name: 'a.b.corp.example', Value: '10.0.0.4' },
      { Name: 'lone', Value: '10.0.0.5' },
      { Name: `lone.${SUFFIX}`, Value: '10.0.0.6' },
      { Name: 'x.y', Value: '10.0.0.7' },
      { Name: `x.y.${SUFFIX}`, Value: '10.0.0.8' },
    ],
  });
  assert.is(resolve(table, 'printer'), '100.64.0.7 fd7a:115c:a1e0::7');
  assert.is(resolve(table, 'db'), '10.0.0.3');
  assert.is(resolve(table, 'a.b'), '10.0.0.4');
  assert.is(resolve(table, 'lone'), '10.0.0.6', 'one label is searched first');
  assert.is(resolve(table, 'lone.'), '10.0.0.5');
  assert.is(resolve(table, 'x.y'), '10.0.0.7', 'several stand for themselves first');
  assert.is(table.malformed, 1);
});

test('devices come, change and go', () => {
  const table = sampleTable();
  const before = table.serial;
  table.setHost(7, `scanner.${SUFFIX}.`, prefixesOf('100.64.0.77'));
  assert.is(resolve(table, 'printer'), 'nothing');
  assert.is(resolve(table, 'scanner'), '100.64.0.77');
  assert.is(table.reverse(address('100.64.0.7')), undefined);
  assert.is(table.reverse(address('100.64.0.77')), `scanner.${SUFFIX}`);
  assert.ok(table.serial > before);
  table.removeHost(7);
  table.removeHost(7);
  assert.is(resolve(table, 'scanner'), 'nothing');
  assert.is(table.reverse(address('100.64.0.77')), undefined);
  assert.is(table.hostCount, 2);
  table.clearHosts();
  assert.is(table.hostCount, 0);
  assert.is(resolve(table, 'me'), 'nothing');
  assert.not.ok(table.exists('other.example'), 'nothing is left above what went');
});

test('a device without a name or an address has none here', () => {
  const table = sampleTable();
  table.setHost(7, '', prefixesOf('100.64.0.7'));
  assert.is(resolve(table, 'printer'), 'nothing');
  table.setHost(7, `printer.${SUFFIX}`, []);
  assert.is(resolve(table, 'printer'), 'nothing');
  table.setHost(7, 'bad name', prefixesOf('100.64.0.7'));
  assert.is(table.hostCount, 2);
});

test("a name that two claim is the lower id's, in whatever order they come, and the other's when that one goes", () => {
  for (const order of [
    [5, 9],
    [9, 5],
  ]) {
    const table = sampleTable();
    for (const id of order) table.setHost(id, `twin.${SUFFIX}`, prefixesOf(`100.64.1.${id}`));
    assert.is(resolve(table, 'twin'), '100.64.1.5');
    table.removeHost(5);
    assert.is(resolve(table, 'twin'), '100.64.1.9');
    table.setHost(10, `me.${SUFFIX}`, prefixesOf('100.64.1.10'));
    assert.is(resolve(table, 'me'), '100.64.0.1 fd7a:115c:a1e0::1', 'nobody takes our own name');
    table.setHost(11, `thief.${SUFFIX}`, prefixesOf('100.64.0.1'));
    assert.is(table.reverse(address('100.64.0.1')), `me.${SUFFIX}`, 'nor our own address');
  }
});

test('settings replace those that were there, devices stay', () => {
  const table = sampleTable({
    ExtraRecords: [{ Name: 'db.corp.example', Value: '10.0.0.1' }],
    Routes: { 'z.example': [] },
  });
  table.configure('new.mote.internal', {});
  assert.is(resolve(table, 'db.corp.example'), 'nothing');
  assert.is(table.reverse(address('10.0.0.1')), undefined);
  assert.is(table.zoneOf('a.z.example'), undefined);
  assert.is(table.zoneOf('a.new.mote.internal'), 'new.mote.internal');
  assert.is(table.zoneOf(`printer.${SUFFIX}`), undefined);
  assert.is(resolve(table, `printer.${SUFFIX}`), '100.64.0.7 fd7a:115c:a1e0::7');
  assert.is(resolve(table, 'printer'), 'nothing');
  table.configure('', {});
  assert.is(table.zoneOf('a.new.mote.internal'), undefined);
});

test('a name belongs to the longest zone', () => {
  const table = sampleTable({ Routes: { example: [], 'a.example': [], [SUFFIX]: [] } });
  assert.is(table.zoneOf('x.a.example'), 'a.example');
  assert.is(table.zoneOf('a.example'), 'a.example');
  assert.is(table.zoneOf('ba.example'), 'example');
  assert.is(table.zoneOf('1.2.100.100.in-addr.arpa'), '100.100.in-addr.arpa');
});

test('devices, records, addresses and zones beyond the limits are left out and counted', () => {
  const limits = { hosts: 4, records: 2, addresses: 2, zones: 70 };
  const records = ['a', 'a', 'a', 'b', 'c'].map((name, i) => ({ Name: `${name}.x`, Value: `10.0.0.${i}` }));
  const routes = Object.fromEntries(Array.from({ length: 10 }, (_, i) => [`zone${i}`, []]));
  const table = sampleTable({ ExtraRecords: records, Routes: routes }, limits);
  // One zone is the suffix, 66 are fixed.
  assert.is(table.overLimit, 2 + 7);
  assert.is(resolve(table, 'a.x'), '10.0.0.0 10.0.0.1');
  assert.is(resolve(table, 'c.x'), 'nothing');
  assert.equal([table.zoneOf('q.zone2'), table.zoneOf('q.zone3')], ['zone2', undefined]);
  table.setHost(20, 'h.x', prefixesOf('1.1.1.1', '1.1.1.2', '1.1.1.3'));
  assert.is(resolve(table, 'h.x'), '1.1.1.1 1.1.1.2');
  table.setHost(21, 'i.x', prefixesOf('1.1.1.9'));
  assert.is(resolve(table, 'i.x'), 'nothing');
  assert.is(table.overLimit, 10);
  table.setHost(20, 'h2.x', prefixesOf('1.1.1.1'));
  assert.is(resolve(table, 'h2.x'), '1.1.1.1', 'a change needs no more room');
});

test('search domains have a limit too', () => {
  const domains = Array.from({ length: 90 }, (_, i) => `d${i}.example`);
  const table = sampleTable({ Domains: domains }, { ...NAME_LIMITS_SMALL, zones: 80 });
  assert.is(table.overLimit, 11);
});

test('names have one normal form', () => {
  assert.is(normalName('A.b.'), 'a.b');
  assert.is(normalName('_srv.x-1'), '_srv.x-1');
  for (const text of [
    '',
    '.',
    'a..b',
    '.a',
    'a b',
    'ä',
    '*.x',
    `${'a'.repeat(64)}.b`,
    'a.'.repeat(127) + 'ab',
    'a\\046',
  ])
    assert.is(normalName(text), undefined, text);
  assert.ok(normalName('a.'.repeat(126) + 'a'));
});

test('addresses have names and back', () => {
  for (const text of ['0.0.0.0', '100.64.0.7', '255.255.255.255', '::', 'fd7a:115c:a1e0::7', '2001:db8::567:89ab'])
    assert.is(formatAddress(parseReverseName(reverseName(address(text)))!.address!), text);
  assert.is(reverseName(address('1.2.3.4')), '4.3.2.1.in-addr.arpa');
  assert.is(
    reverseName(address('2001:db8::567:89ab')),
    'b.a.9.8.7.6.5.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa',
  );
  assert.equal(parseReverseName('2.1.in-addr.arpa'), { address: undefined });
  for (const name of [
    'in-addr.arpa',
    'x.in-addr.arpa',
    '256.in-addr.arpa',
    '01.in-addr.arpa',
    '10.ip6.arpa',
    'a.b',
    '.in-addr.arpa',
  ])
    assert.is(parseReverseName(name), undefined, name);
});

test('20,000 devices are found by name and by address', () => {
  const table = new NameTable(NAME_LIMITS_LARGE);
  table.configure(SUFFIX, {});
  for (let i = 1; i <= 20_000; i++) table.setHost(i, `host${i}.${SUFFIX}.`, prefixesOf(`100.64.${i >> 8}.${i & 255}`));
  assert.is(resolve(table, 'host12345'), '100.64.48.57');
  assert.is(table.reverse(address('100.64.48.57')), `host12345.${SUFFIX}`);
});

test.run();
