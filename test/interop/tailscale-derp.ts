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

/** Rates by phase of the stock clients, as the tool prints them, each with how many the relay had closed as stuck. */
async function readPhases(program: Program, status: () => Promise<Json>): Promise<Json[]> {
  const phases: Promise<Json>[] = [];
  const complete = async (line: string) => {
    const closed = (await status()).closed as string[];
    return { ...JSON.parse(line), stuck: closed.filter(text => text.includes('"stuck"')).length };
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

async function besideFrozen({ lab, isQuick, ends }: Bench): Promise<string> {
  const net = await TailnetNet.make(lab);
  const isStock = ends === 'stock';
  const { url, status } = await startRelay(net, isStock);
  const seconds = isQuick ? 1 : 2;
  const tool = startTool(net, await net.party('many'), 'frozen', url, `${seconds}`, '1000');
  const phases = await readPhases(tool, status);
  const least = (phase: Json) => Math.min(...(phase.Rates as number[]));
  const by = (name: string) => phases.find(phase => phase.Phase === name)!;
  const base = by('reads');
  expect(base.Other > 2 * least(base), `the fourth receiver got only ${base.Other} packets/s while it read`);
  for (const phase of phases) {
    expect(phase.Damaged === 0, `while one ${phase.Phase}: ${phase.Damaged} packets arrived changed`);
    (phase.Rates as number[]).forEach((rate, i) => {
      const kept = rate / base.Rates[i];
      expect(kept >= KEPT, `while one ${phase.Phase}, pair ${i} keeps ${kept.toFixed(2)} of its rate`);
    });
  }
  expect(base.stuck === 0, 'a receiver that reads was closed');
  // Stock derper does not say why it closes.
  expect(isStock || by('is frozen').stuck === 1, 'a receiver that takes nothing was not closed');
  expect(by('reads again').Other > base.Other / 2, 'the relay does not serve a new receiver as before');
  const shown = phases.map(phase => {
    const ended = phase.stuck > base.stuck ? `, closed so far: ${phase.stuck}` : '';
    return `one ${phase.Phase}: at least ${least(phase).toFixed(0)}/s (it ${phase.Other.toFixed(0)}/s${ended})`;
  });
  const counters = JSON.stringify((await status()).status);
  return `derphttp ${base.Version}, three pairs: ${shown.join('; ')}; relay ${counters}`;
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
    run: besideFrozen,
  },
];
