import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { PortList } from '../../lib/netstack/port-list.ts';
import { seededRandom } from './helpers.ts';

const test = suite('netstack/port-list');

test('entries stand by port, those of one port in the order of their addition', () => {
  const list = new PortList<{ port: number; name: string }>();
  for (const [port, name] of [
    [80, 'a'],
    [7, 'b'],
    [80, 'c'],
    [65_535, 'd'],
    [7, 'e'],
  ] as const)
    list.add({ port, name });
  assert.is(list.entries.map(({ name }) => name).join(''), 'beacd');
  assert.is(list.first(80), 2);
  assert.ok(list.has(80) && list.has(65_535));
  assert.not.ok(list.has(8) || list.has(0));
});

test('an entry is removed once, and only that one', () => {
  const list = new PortList<{ port: number }>();
  const [one, two, other] = [{ port: 80 }, { port: 80 }, { port: 81 }];
  for (const entry of [one, two, other]) list.add(entry);
  assert.ok(list.remove(one));
  assert.not.ok(list.remove(one));
  assert.not.ok(list.remove({ port: 80 }));
  assert.equal(list.entries, [two, other]);
});

test('random additions and removals keep the order', () => {
  const random = seededRandom(3);
  const list = new PortList<{ port: number }>();
  const draw = new Uint8Array(2);
  for (let i = 0; i < 500; i++) {
    random(draw);
    if (draw[0]! % 3 === 0 && list.entries.length > 0) list.remove(list.entries[draw[1]! % list.entries.length]!);
    else list.add({ port: draw[1]! % 40 });
    const ports = list.entries.map(({ port }) => port);
    assert.equal(
      ports,
      [...ports].sort((a, b) => a - b),
    );
  }
});

test.run();
