/** Names and addresses of devices: any text becomes a label, no two are the same, and one more costs the same. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { parseAddress, parsePrefix, prefixContains } from '../../lib/base/address.ts';
import { drawAddresses, v6Of } from '../../lib/coordinator/addresses.ts';
import { freeName, isLabel, labelOf } from '../../lib/coordinator/names.ts';
import { Seeded } from '../crypto/support.ts';

const test = suite('names and addresses');

/** A map that counts how often it is asked. */
class CountingMap extends Map<string, number> {
  looks = 0;

  override has(name: string): boolean {
    this.looks++;
    return super.has(name);
  }
}

test('what a device calls itself becomes a label', () => {
  const cases: readonly (readonly [string, string])[] = [
    ['web', 'web'],
    ['Ann’s MacBook Pro', 'ann-s-macbook-pro'],
    ['ann-laptop.local', 'ann-laptop'],
    ['PC.localdomain', 'pc'],
    ['web.example.com', 'web-example-com'],
    ['--a--b--', 'a-b'],
    ['', 'device'],
    ['...', 'device'],
    ['日本', 'device'],
    ['under_score', 'under-score'],
    ['x'.repeat(100), 'x'.repeat(63)],
    [`${'x'.repeat(62)}-y`, 'x'.repeat(62)],
    [`-${'x'.repeat(63)}`, 'x'.repeat(63)],
    ['127', '127'],
  ];
  for (const [hostname, label] of cases) assert.is(labelOf(hostname), label, hostname);
});

test('any text becomes a label', () => {
  const random = new Seeded(5);
  const characters = [...'aZ09-._ é日\u0000😀/\\"'];
  for (let i = 0; i < 2000; i++) {
    const length = random.below(80);
    const text = Array.from({ length }, () => characters[random.below(characters.length)]).join('');
    assert.ok(isLabel(labelOf(text)), JSON.stringify(text));
  }
});

test('a name that is taken gets a number, the lowest there is', () => {
  const names = new Map<string, number>();
  for (let id = 1; id <= 100; id++) {
    const name = freeName(names, 'web');
    assert.is(name, id === 1 ? 'web' : `web-${id - 1}`);
    names.set(name, id);
  }
  names.delete('web');
  assert.is(freeName(names, 'web'), 'web');
  names.set('web', 1);
  assert.is(freeName(names, 'web', 1), 'web', 'its own is free');
  for (let i = 1; i < 100; i += 7) names.delete(`web-${i}`);
  for (let i = 0; i < 200; i++) {
    const name = freeName(names, 'web');
    assert.not(names.has(name));
    names.set(name, 1000 + i);
  }
});

test('names that programs look up on their own are never free', () => {
  for (const name of ['localhost', 'wpad', 'isatap']) assert.is(freeName(new Map(), name), `${name}-1`);
});

test('a number fits behind the longest name', () => {
  const label = 'x'.repeat(63);
  const names = new Map([[label, 1]]);
  for (let i = 1; i <= 200; i++) {
    const name = freeName(names, label);
    assert.ok(isLabel(name), name);
    assert.not(names.has(name));
    names.set(name, i);
  }
  const hyphen = `${'x'.repeat(60)}-yz`;
  assert.ok(isLabel(freeName(new Map([[hyphen, 1]]), hyphen)));
});

test('the hundred thousandth device of a name costs no more looks than a few', () => {
  const names = new CountingMap();
  names.set('web', 0);
  for (let i = 1; i < 100_000; i++) names.set(`web-${i}`, i);
  names.looks = 0;
  assert.is(freeName(names, 'web'), 'web-100000');
  assert.ok(names.looks < 60, `${names.looks} looks`);
});

test('addresses lie in their ranges, outside those with a meaning, and the second follows from the first', () => {
  const random = new Seeded(7);
  const [range4, range6] = [parsePrefix('100.64.0.0/10')!, parsePrefix('fd7a:115c:a1e0::/48')!];
  const taken = new Set<string>();
  let high = 0;
  for (let i = 0; i < 5000; i++) {
    const [v4, v6] = drawAddresses(taken, out => out.set(random.bytes(out.length)))!;
    assert.not(taken.has(v4));
    taken.add(v4);
    assert.ok(prefixContains(range4, parseAddress(v4)!), v4);
    assert.ok(prefixContains(range6, parseAddress(v6)!), v6);
    assert.is(v6, v6Of(v4));
    if (parseAddress(v4)![1]! >= 96) high++;
  }
  assert.ok(high > 2200 && high < 2800, 'all over the range');
  assert.is(v6Of('100.64.1.2'), 'fd7a:115c:a1e0::6440:102');
});

test('what a draw hits that is excluded or taken is drawn again', () => {
  const draws = [
    [0, 0, 0, 0],
    [0, 0x24, 0x64, 0x64],
    [0, 0x24, 0x64, 0],
    [0, 0x24, 0x64, 255],
    [0, 0x33, 92, 0],
    [0, 0x33, 93, 255],
    [0, 0x3f, 255, 255],
    [0xff, 0xc0, 0, 1],
    [0, 0x33, 94, 0],
  ];
  let at = 0;
  const taken = new Set(['100.64.0.1']);
  const [v4] = drawAddresses(taken, out => out.set(draws[at++]!))!;
  assert.is(v4, '100.115.94.0');
  assert.is(at, draws.length);
  at = 0;
  assert.is(
    drawAddresses(new Set(['100.64.0.5']), out => out.set([0, 0, 0, 5 + 0 * at++])),
    undefined,
    'and not for ever',
  );
  assert.is(at, 64);
});

test.run();
