import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { Endpoint } from '../../lib/base/address.ts';
import { Slot } from '../../lib/base/slot.ts';
import { StunClient } from '../../lib/stun/client.ts';
import type { StunEvent, StunServer } from '../../lib/stun/limits.ts';
import { parseBindingRequest, writeBindingResponse } from '../../lib/stun/message.ts';
import { Seeded } from '../crypto/support.ts';

const test = suite('stun client');

function clientOf(limits = {}): StunClient {
  const seeded = new Seeded(5);
  return new StunClient({ random: out => out.set(seeded.bytes(out.length)), limits });
}

function server(region: number, address = `10.0.0.${region}`): StunServer {
  return { region, endpoint: { address, port: 3478 } };
}

interface Sent {
  readonly request: Uint8Array;
  readonly to: Endpoint;
}

/** All requests that are due. */
function due(client: StunClient, nowMs: number): Sent[] {
  const slot = new Slot(100);
  const out: Sent[] = [];
  while (client.pollTransmit(nowMs, slot)) out.push({ request: slot.buf.slice(slot.start, slot.end), to: slot.to! });
  return out;
}

/** The answer to a request. */
function answerTo({ request }: Sent, address = '198.51.100.7', port = 41_000): Uint8Array {
  const out = new Uint8Array(44);
  const idOffset = parseBindingRequest(request, 0, request.length);
  assert.is(idOffset, 8);
  return out.slice(0, writeBindingResponse(out, 0, request, idOffset, address, port));
}

function hand(client: StunClient, nowMs: number, bytes: Uint8Array, from: Endpoint): boolean {
  return client.handleDatagram(nowMs, bytes, 0, bytes.length, from);
}

function events(client: StunClient): StunEvent[] {
  const out: StunEvent[] = [];
  for (let event = client.pollEvent(); event !== undefined; event = client.pollEvent()) out.push(event);
  return out;
}

test('many servers are asked at once, and each answer tells region, latency and the address outside', () => {
  const client = clientOf();
  const servers = [server(1), server(2), server(3, '2001:db8::3')];
  const probes = servers.map(each => client.probe(1000, each));
  const sent = due(client, 1000);
  assert.equal(
    sent.map(({ to }) => to),
    servers.map(({ endpoint }) => endpoint),
  );
  assert.ok(hand(client, 1035, answerTo(sent[1]!), sent[1]!.to));
  assert.ok(hand(client, 1050, answerTo(sent[2]!, '2001:db8::99', 5), sent[2]!.to));
  assert.equal(events(client), [
    {
      type: 'response',
      probe: probes[1],
      server: servers[1],
      latencyMs: 35,
      address: { address: '198.51.100.7', port: 41_000 },
    },
    {
      type: 'response',
      probe: probes[2],
      server: servers[2],
      latencyMs: 50,
      address: { address: '2001:db8::99', port: 5 },
    },
  ]);
  assert.is(client.size, 1);
});

test('a server may be asked again before it has answered: each request has an id and a latency of its own', () => {
  const client = clientOf();
  const sent: Sent[] = [];
  for (const nowMs of [0, 100, 200]) {
    client.probe(nowMs, server(1));
    assert.is(client.nextTimeout(), nowMs);
    sent.push(...due(client, nowMs));
    assert.is(client.nextTimeout(), 3000);
  }
  assert.is(new Set(sent.map(({ request }) => request.slice(8, 20).join())).size, 3, 'ids of their own');
  assert.ok(hand(client, 430, answerTo(sent[1]!), sent[1]!.to));
  const [event] = events(client);
  assert.is(event?.type === 'response' && event.latencyMs, 330);
  assert.not(hand(client, 440, answerTo(sent[1]!), sent[1]!.to), 'once');
  assert.ok(hand(client, 450, answerTo(sent[0]!), sent[0]!.to), 'the others are still waited for');
  assert.is(client.size, 1);
});

test('how long an answer is waited for is the caller’s', () => {
  const client = clientOf();
  const probe = client.probe(1000, server(1), 500);
  const other = client.probe(1000, server(2), 600);
  assert.is(due(client, 999).length, 0);
  assert.is(due(client, 1000).length, 2);
  assert.is(client.nextTimeout(), 1500);
  client.handleTimeout(1499);
  assert.equal(events(client), []);
  client.handleTimeout(1500);
  assert.equal(events(client), [{ type: 'timeout', probe, server: server(1) }]);
  assert.is(client.size, 1);
  client.handleTimeout(1600);
  assert.equal(events(client), [{ type: 'timeout', probe: other, server: server(2) }]);
  assert.is(client.size, 0);
  assert.is(client.nextTimeout(), Infinity);
});

test('of many requests those that are answered go, and the others keep their server', () => {
  const client = clientOf();
  const servers = Array.from({ length: 50 }, (_, i) =>
    server(i + 1, i % 2 === 0 ? `10.0.0.${i + 1}` : `2001:db8::${i + 1}`),
  );
  for (const each of servers) client.probe(0, each);
  const sent = due(client, 5);
  assert.is(sent.length, 50);
  for (const each of sent.filter((_, i) => i % 3 === 0)) assert.ok(hand(client, 10, answerTo(each), each.to));
  assert.equal(
    events(client).map(event => event.server),
    servers.filter((_, i) => i % 3 === 0),
  );
  client.handleTimeout(3000);
  assert.equal(
    events(client).map(event => event.server),
    servers.filter((_, i) => i % 3 !== 0),
  );
});

test('an answer with an id that was not asked, or from another address or port, is nobody’s', () => {
  const client = clientOf();
  client.probe(0, server(1));
  client.probe(0, server(2));
  const [one] = due(client, 0);
  const guessed = answerTo(one!);
  guessed[19]! ^= 1;
  assert.not(hand(client, 5, guessed, one!.to));
  assert.not(hand(client, 5, answerTo(one!), server(2).endpoint));
  assert.not(hand(client, 5, answerTo(one!), { ...one!.to, port: 3479 }));
  assert.not(hand(client, 5, one!.request, one!.to), 'a request is no answer');
  assert.equal(events(client), []);
  assert.is(client.ignored, 4);
  assert.ok(hand(client, 6, answerTo(one!), one!.to), 'and the true one still counts');
});

test('an id that was not used yet is not guessed by zeros', () => {
  const client = clientOf();
  client.probe(0, server(1));
  due(client, 0);
  const zero = answerTo({ request: zeroRequest(), to: server(1).endpoint });
  assert.not(hand(client, 5, zero, server(1).endpoint));
});

test('a cancelled probe is silent', () => {
  const client = clientOf();
  const probe = client.probe(0, server(1));
  const [sent] = due(client, 0);
  client.cancel(probe);
  assert.not(hand(client, 1, answerTo(sent!), sent!.to));
  client.handleTimeout(10_000);
  assert.equal(events(client), []);
});

test('probes under way are bounded, and wrong numbers are the caller’s mistake', () => {
  const client = clientOf({ probes: 2 });
  assert.ok(client.probe(0, server(1)) > 0 && client.probe(0, server(2)) > 0);
  assert.is(client.probe(0, server(3)), -1);
  assert.throws(() => client.probe(0, server(3), -1), /"timeoutMs" expected 0 or more, got -1/);
  assert.throws(() => client.probe(0, server(3), Number.NaN), /"timeoutMs"/);
  assert.throws(
    () => client.probe(0, server(3, 'relay.example')),
    /"address" expected an IP address, got 'relay.example'/,
  );
  assert.throws(() => client.probe(0, server(65_536, '10.0.0.1')), /"region" expected 0 to 65535, got 65536/);
  const endpoint = { address: '10.0.0.1', port: -1 };
  assert.throws(() => client.probe(0, { region: 1, endpoint }), /"port"/);
});

test('any bytes are survived', () => {
  const client = clientOf();
  client.probe(0, server(1));
  const [sent] = due(client, 0);
  const good = answerTo(sent!);
  let answers = 0;
  for (let seed = 1; seed < 3000; seed++) {
    const seeded = new Seeded(seed);
    const bytes = good.slice(0, seeded.below(good.length + 1));
    for (let i = seeded.below(3); i >= 0 && bytes.length > 0; i--)
      bytes[seeded.below(bytes.length)]! ^= 1 << seeded.below(8);
    if (hand(client, 5, bytes, sent!.to)) {
      answers++;
      client.probe(0, server(1));
      due(client, 0);
    }
  }
  assert.ok(answers <= 1, 'nothing but the id and the address is left to change');
});

function zeroRequest(): Uint8Array {
  const slot = new Slot(100);
  const zeros = new StunClient({ random: out => out.fill(0) });
  zeros.probe(0, server(1));
  zeros.pollTransmit(0, slot);
  return slot.buf.slice(slot.start, slot.end);
}

test.run();
