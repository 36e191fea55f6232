import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { addressBonus, isBetterPath, isReachable, plainEndpoint } from '../../lib/disco/endpoint.ts';
import { at } from './support.ts';

const test = suite('disco endpoint');

function path(endpoint: string, latencyMs: number) {
  return { ...at(endpoint), latencyMs };
}

/** Whether a beats b; asserts that b does not beat a then. */
function beats(a: [string, number] | undefined, b: [string, number] | undefined): boolean {
  const pathA = a && path(...a);
  const pathB = b && path(...b);
  const result = isBetterPath(pathA, pathB);
  if (result) assert.not(isBetterPath(pathB, pathA));
  return result;
}

const V4 = '198.51.100.1:1';
const OTHER = '203.0.113.1:1';
const V6 = '[2001:db8::1]:1';
const PRIVATE = '192.168.4.5:1';
const ULA = '[fd12::1]:1';
const LINK_LOCAL = '169.254.3.3:1';
const LINK_LOCAL_6 = '[fe80::1%eth0]:1';
const LOOPBACK = '127.0.0.1:1';

test('any path is better than none', () => {
  assert.ok(beats([V4, 500], undefined));
  assert.not(beats(undefined, [V4, 500]));
  assert.not(beats(undefined, undefined));
});

test('a path has to be clearly faster', () => {
  assert.ok(beats([V4, 40], [OTHER, 50]));
  assert.not(beats([V4, 50], [OTHER, 50]));
  assert.not(beats([V4, 100], [OTHER, 101]), 'one hundredth is not enough');
  assert.ok(beats([V4, 100], [OTHER, 102]), 'two are');
  assert.not(beats([V4, 0], [OTHER, 0]));
  assert.ok(beats([V4, 0], [OTHER, 1]));
});

test('near addresses may be somewhat slower, and the nearer the more', () => {
  assert.ok(beats([PRIVATE, 100], [V4, 82]));
  assert.not(beats([PRIVATE, 100], [V4, 80]), '20 points against 20');
  assert.not(beats([PRIVATE, 100], [V4, 79]));
  assert.ok(beats([LINK_LOCAL, 100], [V4, 72]));
  assert.ok(beats([V4, 69], [LINK_LOCAL, 100]));
  assert.ok(beats([LOOPBACK, 100], [V4, 52]));
  assert.ok(beats([V4, 49], [LOOPBACK, 100]));
  assert.ok(beats([LOOPBACK, 100], [LINK_LOCAL_6, 95]));
});

test('IPv6 is worth ten hundredths', () => {
  assert.ok(beats([V6, 100], [V4, 92]));
  assert.not(beats([V6, 100], [V4, 90]));
  assert.ok(beats([V4, 89], [V6, 100]));
  assert.ok(beats([PRIVATE, 100], [V6, 100]), 'less than being near');
  assert.ok(beats([ULA, 100], [PRIVATE, 95]));
});

test('the bonus goes by the kind of address', () => {
  const bonus = (text: string) => addressBonus(at(text));
  assert.equal([V4, V6, '100.64.0.1:1', '172.32.0.1:1', '[fec0::1]:1'].map(bonus), [0, 10, 0, 0, 10]);
  assert.equal([PRIVATE, '10.9.9.9:1', '172.16.0.1:1', '172.31.255.1:1', ULA].map(bonus), [20, 20, 20, 20, 30]);
  assert.equal([LINK_LOCAL, LINK_LOCAL_6, '[febf::1]:1'].map(bonus), [30, 40, 40]);
  assert.equal([LOOPBACK, '127.9.9.9:1', '[::1]:1', '[1::1]:1'].map(bonus), [50, 50, 60, 10]);
  assert.is(addressBonus({ address: 'nonsense', port: 1 }), 0);
});

test('nothing is sent to addresses that are nobody, everybody, a relay, or a link that is not named', () => {
  for (const endpoint of [V4, V6, PRIVATE, ULA, LINK_LOCAL, LOOPBACK, '[::1]:1', '127.3.3.41:1'])
    assert.ok(isReachable(at(endpoint)), endpoint);
  const none = ['0.0.0.0:1', '0.1.2.3:1', '224.0.0.1:1', '239.1.1.1:1', '255.255.255.255:1', '[::]:1', '[ff02::1]:1'];
  for (const endpoint of none) assert.not(isReachable(at(endpoint)), endpoint);
  assert.not(isReachable(at('127.3.3.40:7')), 'the address that stands for relays');
  assert.not(isReachable(at('[fe80::1]:1')), 'link-local');
  assert.not(isReachable(at('[febf::1]:1')), 'link-local');
  for (const port of [0, -1, 65_536, 1.5, Number.NaN]) assert.not(isReachable({ address: '1.2.3.4', port }), `${port}`);
  assert.not(isReachable({ address: 'nonsense', port: 1 }));
  assert.not(isReachable({ address: 'fe80::1%eth0', port: 1 }));
});

test('IPv4 in its IPv6 form is made plain', () => {
  assert.equal(plainEndpoint({ address: '::ffff:1.2.3.4', port: 5 }), { address: '1.2.3.4', port: 5 });
  const same = at('[2001:db8::1]:5');
  assert.is(plainEndpoint(same), same);
});

test.run();
