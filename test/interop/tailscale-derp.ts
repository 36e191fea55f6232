/**
 * Relays: our client through stock derper, and stock clients through our relay.
 */
import { createInterface } from 'node:readline';
import { type Bench, type Case, expect, expectPattern } from './case.ts';
import { type Json, Remote } from './json-lines.ts';
import { type Lab, type Program, until } from './lab.ts';
import { buildTool } from './programs.ts';
import { Derper } from './stock-headscale.ts';
import { type Party, TailnetNet } from './tailscale-net.ts';

/** Of the packets that arrive while everybody reads, so many still arrive beside a receiver that does not. */
const KEPT = 0.9;
const RELAY_PORT = 443;

/** Starts the stock relay client in a party. */
function startTool(net: TailnetNet, party: Party, ...args: readonly string[]): Program {
  const env = { SSL_CERT_FILE: net.caFile, SSL_CERT_DIR: '/nonexistent' };
  return net.lab.start(party.space, [buildTool('derp'), ...args], { env, name: 'stock relay client' });
}

async function firstLine(program: Program): Promise<string> {
  const line = await until('the stock relay client is connected', 15_000, () => {
    if (!program.isRunning) throw new Error(`it ended: ${program.tail()}`);
    return program.stdout.includes('\n') && program.stdout.split('\n')[0];
  });
  return line.trim();
}

/** Two of our clients, and a stock client that sends back what it gets, on a stock derper; returns evidence. */
async function throughDerper(lab: Lab, isPinned: boolean): Promise<string> {
  const net = await TailnetNet.make(lab);
  const derper = await Derper.make(net, { isPinned });
  const [here, there] = [await net.party('one'), await net.party('two')];
  const [one, two] = [new Remote(lab, here.space, 'derp-peer.ts'), new Remote(lab, there.space, 'derp-peer.ts')];
  const { address } = derper.party;
  const host = isPinned ? address : derper.party.host;
  const pin = derper.certName?.slice('sha256-raw:'.length);
  const trust = isPinned ? { pin } : { caFile: net.caFile };
  const opened = [one, two].map(remote => remote.call('open', { host, address, port: RELAY_PORT, ...trust }));
  const [mine, other] = await Promise.all(opened);
  expect(mine!.serverKey === other!.serverKey, 'two clients saw different relay keys');
  for (const [seed, bytes] of [1, 1300, 65_536].entries()) {
    await one.call('send', { to: other!.publicKey, bytes, seed });
    const got = await two.call('receive');
    expectPattern(`a packet of ${bytes} bytes`, got, seed, bytes);
    expect(got.from === mine!.publicKey, 'the relay named another sender');
  }
  const { ms } = await one.call('ping');
  let stock = '';
  if (!isPinned) {
    const key = (await firstLine(startTool(net, here, 'echo', derper.url))).replace('nodekey:', '');
    await one.call('send', { to: key, bytes: 1200, seed: 9 });
    const got = await one.call('receive');
    expectPattern('what a stock client sent back', got, 9, 1200);
    expect(got.from === key, 'the stock client has another key');
    stock = ', 1200 B to a stock client and back';
  }
  const wrong = new Remote(lab, here.space, 'derp-peer.ts');
  const badTrust = isPinned ? { pin: '00'.repeat(32) } : { pin: undefined, caFile: '/dev/null' };
  const refused = await wrong.call('open', { host, address, port: RELAY_PORT, ...badTrust }).then(
    () => undefined,
    (error: Error) => error.message,
  );
  expect(
    refused?.includes('ERR_TLS') === true,
    `a certificate that is not ${isPinned ? 'the pin' : 'trusted'}: ${refused}`,
  );
  const way = isPinned ? `pinned ${derper.certName?.slice(0, 24)}…` : 'certificate of the test authority';
  return `derper ${derper.version}, ${way}: 1 B, 1300 B and 64 KiB whole${stock}, ping ${ms.toFixed(1)} ms; refused: ${refused}; ${await derper.evidence()}`;
}

/** How many clients the relay has closed because they took nothing. */
function countStuck({ closed }: Json): number {
  return (closed as string[]).filter(text => text.includes('"stuck"')).length;
}

/** Rates by phase of the stock clients, as the tool prints them, each with how many the relay had closed as stuck. */
async function readPhases(program: Program, status: () => Promise<Json>): Promise<Json[]> {
  const phases: Promise<Json>[] = [];
  const complete = async (line: string) => {
    return { ...JSON.parse(line), stuck: countStuck(await status()) };
  };
  createInterface({ input: program.child.stdout! }).on('line', line => phases.push(complete(line)));
  const { code, stderr } = await program.ended;
  expect(code === 0, `the stock relay client failed: ${stderr}`);
  return Promise.all(phases);
}

/** Our relay in a party of its own, or stock derper in its place. */
async function startRelay(net: TailnetNet, isStock: boolean): Promise<{ url: string; status: () => Promise<Json> }> {
  if (isStock) {
    const derper = await Derper.make(net);
    return { url: derper.url, status: async () => ({ status: await derper.evidence(), closed: [] }) };
  }
  const server = await net.party('relay', 'control');
  const files = await net.certificate([server.host]);
  const relay = new Remote(net.lab, server.space, 'relay-program.ts');
  await relay.call('open', { port: RELAY_PORT, ...files });
  return { url: `https://${server.host}/derp`, status: () => relay.call('status') };
}

const leastRate = (phase: Json) => Math.min(...(phase.Rates as number[]));

/** The smallest part of its rate that a pair keeps beside a receiver that does not keep up. */
function leastKept(phases: readonly Json[]): number {
  const base = phases.find(phase => phase.Phase === 'reads')!;
  const beside = phases.filter(phase => phase.Phase === 'is frozen' || phase.Phase === 'drips');
  return Math.min(...beside.flatMap(phase => (phase.Rates as number[]).map((rate, i) => rate / base.Rates[i])));
}

/** A machine that is busy with other things takes from everybody's rate at random: so many tries, of which one counts. */
const ROUNDS = 3;

async function besideFrozen({ lab, isQuick, ends }: Bench): Promise<string> {
  const net = await TailnetNet.make(lab);
  const isStock = ends === 'stock';
  const { url, status } = await startRelay(net, isStock);
  const party = await net.party('many');
  const kept: number[] = [];
  let phases: Json[];
  let stuckBefore: number;
  do {
    stuckBefore = countStuck(await status());
    phases = await readPhases(startTool(net, party, 'frozen', url, `${isQuick ? 1 : 2}`, '500'), status);
    kept.push(leastKept(phases));
  } while (kept.at(-1)! < KEPT && kept.length < ROUNDS);
  const shownKept = kept.map(part => part.toFixed(2)).join(', ');
  expect(kept.at(-1)! >= KEPT, `beside a receiver that does not keep up, a pair keeps ${shownKept} of its rate`);
  const by = (name: string) => phases.find(phase => phase.Phase === name)!;
  const base = by('reads');
  for (const phase of phases)
    expect(phase.Damaged === 0, `while one ${phase.Phase}: ${phase.Damaged} packets arrived changed`);
  expect(base.Other > leastRate(base), `the fourth receiver got only ${base.Other} packets/s while it read`);
  expect(base.stuck === stuckBefore, 'a receiver that reads was closed');
  // Stock derper does not say why it closes.
  expect(isStock || by('is frozen').stuck === stuckBefore + 1, 'a receiver that takes nothing was not closed');
  expect(by('reads again').Other > base.Other / 2, 'the relay does not serve a new receiver as before');
  const shown = phases.map(phase => {
    const ended = phase.stuck > base.stuck ? `, closed so far: ${phase.stuck - base.stuck}` : '';
    return `one ${phase.Phase}: at least ${leastRate(phase).toFixed(0)}/s (it ${phase.Other.toFixed(0)}/s${ended})`;
  });
  const counters = JSON.stringify((await status()).status);
  return `derphttp ${base.Version}, three pairs keep at least ${shownKept}: ${shown.join('; ')}; relay ${counters}`;
}

export const derpCases: readonly Case[] = [
  {
    name: 'derper',
    title: 'our relay client exchanges packets through stock derper, and refuses a certificate that nobody vouches for',
    run: ({ lab }) => throughDerper(lab, false),
    needs: ['go'],
  },
  {
    name: 'derper-pin',
    title: 'our relay client exchanges packets through a stock derper whose certificate is pinned, and refuses another',
    run: ({ lab }) => throughDerper(lab, true),
  },
  {
    name: 'relay-frozen',
    title: 'stock clients keep 0.9 of their rate through our relay beside a receiver that freezes or drips',
    needs: ['go'],
    timeoutMs: 90_000,
    run: besideFrozen,
  },
];
