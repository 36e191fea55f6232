/** Which connections with peers may go on after the rules or the peers have changed. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { type Prefix, parseAddress, parsePrefix } from '../../lib/base/address.ts';
import { DropCounters } from '../../lib/base/drop.ts';
import type { NetmapPeer } from '../../lib/control/peer-record.ts';
import { TailnetGate } from '../../lib/device/tailnet-gate.ts';
import { FILTER_LIMITS_SMALL } from '../../lib/filter/limits.ts';
import { IpPath } from '../../lib/netstack/path.ts';
import type { TcpConnection, TcpListener } from '../../lib/netstack/tcp.ts';

const test = suite('tailnet gate');
const ME = '100.64.0.1';
const PEER = '100.64.0.2';
const OWN: readonly Prefix[] = [parsePrefix(`${ME}/32`)!];

function gate(port: number): TailnetGate {
  const made = new TailnetGate(FILTER_LIMITS_SMALL, new DropCounters());
  made.setRules([{ SrcIPs: [PEER], DstPorts: [{ IP: ME, Ports: { First: port, Last: port } }] }], OWN);
  return made;
}

/** A connection from the peer to a port of ours, or from us to it. */
function connection(localPort: number, isAccepted: boolean): TcpConnection {
  const path = new IpPath(parseAddress(ME)!, parseAddress(PEER)!, 1280);
  const listener = isAccepted ? ({} as TcpListener) : undefined;
  return { path, localPort, listener } as TcpConnection;
}

const peer = (isJailed = false) => ({ isJailed }) as NetmapPeer;

test('a connection that a peer has opened goes on as long as a rule allows its port', () => {
  assert.is(gate(22).objectionTo(connection(22, true), peer()), undefined);
  assert.is(gate(22).objectionTo(connection(23, true), peer()), 'ERR_NOT_ALLOWED');
});

test('a connection that we have opened needs no rule here', () => {
  assert.is(gate(22).objectionTo(connection(50_000, false), peer()), undefined);
  assert.is(gate(22).objectionTo(connection(50_000, false), peer(true)), undefined);
});

test('a jailed peer may have no connection that it has opened', () => {
  assert.is(gate(22).objectionTo(connection(22, true), peer(true)), 'ERR_NOT_ALLOWED');
});

test('no connection goes on with a peer that has left', () => {
  assert.is(gate(22).objectionTo(connection(22, true), undefined), 'ERR_UNREACHABLE');
  assert.is(gate(22).objectionTo(connection(50_000, false), undefined), 'ERR_UNREACHABLE');
});

test.run();
