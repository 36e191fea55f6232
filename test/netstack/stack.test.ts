import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { READY_ACCEPTED, READY_CLOSED, READY_CONNECTED, READY_ENDED, READY_READABLE } from '../../lib/netstack/tcp.ts';
import { counting, ip } from '../packet/build.ts';
import { eventsOf, StackPair } from './helpers.ts';

const test = suite('netstack/stack');

for (const remote of ['10.0.0.2', 'fd00::2']) {
  test(`TCP carries bytes both ways and closes, to ${remote}`, () => {
    const pair = new StackPair();
    pair.b.tcpListen(80);
    const client = pair.a.tcpConnect(pair.nowMs, ip(remote), 80);
    pair.run();
    const accepted = eventsOf(pair.b).find(event => event.type === 'tcp')!;
    assert.is(accepted.type, 'tcp');
    const server = (accepted as { connection: typeof client }).connection;
    assert.ok(server.takeReady() & READY_ACCEPTED);
    eventsOf(pair.a);
    assert.ok(client.takeReady() & READY_CONNECTED);
    const data = counting(50_000);
    let sent = 0;
    const got = new Uint8Array(50_000);
    let received = 0;
    for (let i = 0; i < 1000 && received < data.length; i++) {
      sent += client.write(pair.nowMs, data, sent, data.length);
      pair.advance(10);
      received += server.read(pair.nowMs, got, received, got.length);
    }
    assert.is(received, data.length);
    assert.equal(got, data);
    client.shutdown(pair.nowMs);
    pair.advance(100);
    assert.ok(server.takeReady() & (READY_ENDED | READY_READABLE));
    server.shutdown(pair.nowMs);
    pair.advance(200_000);
    assert.ok(server.takeReady() & READY_CLOSED);
    assert.is(pair.a.tcp.connectionCount, 0);
    assert.is(pair.b.tcp.connectionCount, 0);
  });
}

test.run();
