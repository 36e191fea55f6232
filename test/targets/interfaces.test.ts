/** Which addresses of a machine are of use to others, on made-up machines. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { usableAddresses } from '../../targets/node/interfaces.ts';

const test = suite('addresses of a machine');

function usable(...addresses: readonly string[]): readonly string[] {
  return usableAddresses(addresses.map(address => ({ address, internal: false })));
}

test('loopback, link-local, multicast and tailnet addresses are left out, to their last address', () => {
  assert.equal(usable('127.0.0.1', '127.255.255.255', '::1', '::', '0.0.0.0', '224.0.0.1', 'ff02::1'), []);
  assert.equal(usable('100.64.0.0', '100.127.255.255', '100.63.255.255', '100.128.0.0'), [
    '100.63.255.255',
    '100.128.0.0',
  ]);
  assert.equal(usable('fd7a:115c:a1e0::1', 'fd7a:115c:a1e0:ffff::', 'fd7a:115c:a1e1::1'), ['fd7a:115c:a1e1::1']);
  assert.equal(usable('fe80::1', 'febf::1', 'fec0::1', 'fe80::1%eth0'), ['fec0::1']);
});

test('private and global addresses stay, in their order, as canonical text, each once', () => {
  assert.equal(usable('2001:DB8:0::1', '10.0.0.1', '192.168.1.2', '2001:db8::1', 'fd00::2', '10.0.0.1'), [
    '2001:db8::1',
    '10.0.0.1',
    '192.168.1.2',
    'fd00::2',
  ]);
});

test('link-local IPv4 counts where there is no other IPv4', () => {
  assert.equal(usable('169.254.1.2', '2001:db8::1'), ['2001:db8::1', '169.254.1.2']);
  assert.equal(usable('169.254.1.2', '10.0.0.1'), ['10.0.0.1']);
});

test('what the system calls internal, or what is no address, is left out', () => {
  assert.equal(usableAddresses([{ address: '10.0.0.1', internal: true }]), []);
  assert.equal(usable('', 'eth0', '10.0.0', '00:11:22:33:44:55'), []);
});

test('what is given cannot be changed by who got it', () => {
  assert.throws(() => (usable('10.0.0.1') as string[]).push('10.0.0.2'), TypeError);
});

test.run();
