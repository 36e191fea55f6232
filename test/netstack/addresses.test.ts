import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { formatAddress } from '../../lib/base/address.ts';
import { NetError } from '../../lib/base/errors.ts';
import { Addresses } from '../../lib/netstack/addresses.ts';
import { ip, join } from '../packet/build.ts';

const test = suite('netstack/addresses');

function make(...texts: string[]): Addresses {
  const addresses = new Addresses(16);
  for (const text of texts) {
    const [address, bits] = text.split('/');
    addresses.add({ bytes: ip(address!), bits: Number(bits) });
  }
  return addresses;
}

const selected = (addresses: Addresses, remote: string) => {
  const local = addresses.selectCopy(ip(remote));
  return local === undefined ? undefined : formatAddress(local);
};

test('exactly the added addresses are ours', () => {
  const addresses = make('10.0.0.2/24', 'fd00::2/64');
  assert.ok(addresses.has(ip('10.0.0.2'), 0, 4));
  assert.ok(addresses.has(join([9, 9], ip('fd00::2')), 2, 16));
  for (const text of ['10.0.0.3', '10.0.0.0', '10.0.0.255', 'fd00::3', '::ffff:10.0.0.2'])
    assert.not.ok(addresses.has(ip(text), 0, ip(text).length), text);
});

test('addresses are copied, replaced and removed', () => {
  const addresses = make('10.0.0.2/24');
  const bytes = ip('10.0.0.5');
  addresses.add({ bytes, bits: 32 });
  bytes[3] = 6;
  assert.ok(addresses.has(ip('10.0.0.5'), 0, 4));
  addresses.add({ bytes: ip('10.0.0.5'), bits: 16 });
  assert.equal(
    addresses.list.map(({ bits }) => bits),
    [24, 16],
  );
  assert.ok(addresses.remove(ip('10.0.0.5')));
  assert.not.ok(addresses.remove(ip('10.0.0.5')));
  assert.not.ok(addresses.has(ip('10.0.0.5'), 0, 4));
});

test('what no host can have as an address is refused', () => {
  for (const text of [
    '0.0.0.0',
    '127.0.0.1',
    '224.0.0.1',
    '255.255.255.255',
    '::',
    '::1',
    'ff02::1',
    '::ffff:10.0.0.1',
  ])
    assert.throws(() => new Addresses(4).add({ bytes: ip(text), bits: 8 }), RangeError, text);
  for (const bits of [-1, 33, Number.NaN])
    assert.throws(() => new Addresses(4).add({ bytes: ip('10.0.0.1'), bits }), RangeError);
  assert.throws(() => new Addresses(4).add({ bytes: new Uint8Array(5), bits: 8 }), RangeError);
});

test('one address more than the limit is an error of its own', () => {
  const addresses = new Addresses(1);
  addresses.add({ bytes: ip('10.0.0.1'), bits: 8 });
  assert.throws(
    () => addresses.add({ bytes: ip('10.0.0.2'), bits: 8 }),
    (error: unknown) => error instanceof NetError && error.code === 'ERR_LIMIT',
  );
  addresses.add({ bytes: ip('10.0.0.1'), bits: 9 });
});

test('the broadcast address of our subnets is known, whatever the prefix length', () => {
  const isBroadcast = (prefix: string, text: string) => make(prefix).isSubnetBroadcast(ip(text), 0);
  for (const [prefix, text] of [
    ['10.0.0.2/24', '10.0.0.255'],
    ['10.1.2.3/8', '10.255.255.255'],
    ['10.0.0.2/30', '10.0.0.3'],
    ['10.0.17.2/20', '10.0.31.255'],
    ['10.0.0.130/25', '10.0.0.255'],
  ] as const) {
    assert.ok(isBroadcast(prefix, text), `${prefix} ${text}`);
    assert.not.ok(isBroadcast(prefix, '10.0.0.254'), prefix);
  }
  for (const [prefix, text] of [
    ['10.0.0.2/31', '10.0.0.3'],
    ['10.0.0.3/32', '10.0.0.3'],
    ['10.0.0.2/25', '10.0.0.255'],
    ['fd00::2/64', '10.0.0.255'],
  ] as const)
    assert.not.ok(isBroadcast(prefix, text), `${prefix} ${text}`);
});

test('the source is of the destination’s family and shares the longest prefix with it', () => {
  const addresses = make('100.64.0.7/32', '10.0.0.2/24', '10.1.0.2/16', 'fd00::2/64', 'fd7a:115c:a1e0::7/128');
  for (const [remote, local] of [
    ['10.0.0.9', '10.0.0.2'],
    ['10.1.9.9', '10.1.0.2'],
    ['100.64.0.9', '100.64.0.7'],
    ['100.64.0.7', '100.64.0.7'],
    ['fd00::9', 'fd00::2'],
    ['fd7a:115c:a1e0::9', 'fd7a:115c:a1e0::7'],
    ['10.0.0.2', '10.0.0.2'],
  ] as const)
    assert.is(selected(addresses, remote), local, remote);
});

test('without an address of the family there is no source', () => {
  assert.is(selected(make('10.0.0.2/24'), 'fd00::1'), undefined);
  assert.is(selected(make('fd00::2/24'), '10.0.0.1'), undefined);
  assert.is(selected(make(), '10.0.0.1'), undefined);
});

test('link-local talks to link-local, global to global, where there is a choice', () => {
  const addresses = make('fe80::2/64', '2001:db8::2/64');
  assert.is(selected(addresses, 'fe80::9'), 'fe80::2');
  assert.is(selected(addresses, 'fd00::9'), '2001:db8::2');
  assert.is(selected(make('fe80::2/64'), 'fd00::9'), 'fe80::2');
  assert.is(selected(make('169.254.1.1/16', '10.0.0.1/8'), '169.128.0.1'), '10.0.0.1');
});

test('equal choices go to the one that was added first', () => {
  assert.is(selected(make('10.0.0.1/32', '10.0.0.2/32'), '172.16.0.1'), '10.0.0.1');
});

test.run();
