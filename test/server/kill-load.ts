/**
 * The load of the kill test, a process of its own: each worker has a tailnet, administers it over the socket in the data
 * folder and keeps devices in it over control connections, one change after the other. Before each change it says what
 * it is about to ask for, and after the answer that it came (kill-model.ts). The server may die at any time.
 */
import { Agent, request } from 'node:http';
import { formatKey } from '../../lib/crypto/key-text.ts';
import { SecretKey } from '../../lib/crypto/keys.ts';
import type { AdminCommand, AdminResults } from '../../lib/coordinator/commands.ts';
import type { Entries, LoadCommand, LoadMessage } from './kill-model.ts';
import { messagesOf, publicOf, random, TestDevice } from './support.ts';

const WORKERS = 8;
const MAX_DEVICES = 6;

/** The server is gone; whether the change was made nobody knows. */
class Unanswered extends Error {}

interface Key {
  readonly name: string;
  readonly id: string;
  readonly text: string;
  readonly isReusable: boolean;
  uses: number;
}

interface Member {
  readonly device: TestDevice;
  readonly name: string;
  node: string;
  isSeen: boolean;
}

/** One change. */
interface Step {
  readonly what: string;
  readonly entries: Entries;
  readonly audit?: string;
  /** Asks for it; returns what else the answer tells. */
  ask(): Promise<Entries>;
  /** It was made. Called without an answer, too, when the store has it. */
  done(): void;
}

let target: Extract<LoadCommand, { type: 'go' }>;
let agent = new Agent({ keepAlive: true });
let isStopping = false;
let halted = 0;

const say = (message: LoadMessage) => process.send!(message);
const pick = <T>(list: readonly T[]): T => list[Math.floor(Math.random() * list.length)]!;
const pause = (ms: number) => new Promise(resolve => setTimeout(resolve, ms));

class Worker {
  readonly tailnet: string;
  #count = 0;
  #hasTailnet = false;
  #pending: Step | undefined;
  #keys: Key[] = [];
  #members: Member[] = [];
  #tokens: { name: string; id: string }[] = [];
  #users: string[] = [];
  #isStrict = false;

  constructor(number: number) {
    this.tailnet = `t${number}`;
  }

  /** Works until the server is gone. */
  async run(isApplied: boolean): Promise<void> {
    if (isApplied) this.#pending?.done();
    this.#pending = undefined;
    while (this.#pending === undefined && !isStopping) {
      try {
        const step = await this.#next();
        const { what, entries, audit } = step;
        say({ type: 'ask', worker: this.tailnet, what, entries, ...(audit === undefined ? {} : { audit }) });
        this.#pending = step;
        const more = await step.ask();
        step.done();
        this.#pending = undefined;
        say({ type: 'ack', worker: this.tailnet, entries: more });
      } catch (error) {
        if (!(error instanceof Unanswered))
          say({ type: 'wrong', worker: this.tailnet, text: String((error as Error).stack) });
        if (this.#pending !== undefined) say({ type: 'unanswered', worker: this.tailnet, atMs: Date.now() });
        else await pause(10);
      }
    }
    for (const { device } of this.#members) device.socket?.destroy();
  }

  /** A change, at random. The connection that it needs is open. */
  async #next(): Promise<Step> {
    const name = `n${++this.#count}`;
    if (!this.#hasTailnet) return this.#makeTailnet();
    const usable = this.#keys.filter(({ isReusable, uses }) => isReusable || uses === 0);
    if (usable.length === 0) return this.#makeKey(name);
    const dice = Math.random();
    if (this.#members.length < 2 || (dice < 0.12 && this.#members.length < MAX_DEVICES))
      return this.#join(name, pick(usable));
    if (dice < 0.2) return this.#makeKey(name);
    if (dice < 0.24) return this.#revoke(pick(usable));
    if (dice < 0.28) return this.#makeUser(name);
    if (dice < 0.32) return this.#makeToken(name);
    if (dice < 0.35 && this.#tokens.length > 0) return this.#dropToken(this.#tokens[0]!);
    if (dice < 0.38) return this.#update();
    const member = pick(this.#members);
    if (dice < 0.44) return this.#remove(member);
    if (dice < 0.52) return this.#rename(member, name);
    await reach(member.device);
    if (!member.isSeen) return this.#look(member);
    return dice < 0.6 ? this.#rotate(member) : this.#move(member);
  }

  #makeTailnet(): Step {
    const { tailnet } = this;
    const entries: Entries = [
      [this.#path('tailnet', tailnet), { requiresApproval: false }],
      [this.#path('user', 'owner'), { displayName: 'owner' }],
    ];
    const ask = () => administer({ type: 'tailnet-create', tailnet }).then(() => []);
    return { what: 'a tailnet', entries, audit: 'tailnet-create', ask, done: () => void (this.#hasTailnet = true) };
  }

  #makeKey(name: string): Step {
    const isReusable = Math.random() < 0.3;
    let made: AdminResults['key-create'] | undefined;
    return {
      what: `key ${name}`,
      entries: [[this.#path('key', name), { isReusable, uses: 0, isRevoked: false }]],
      audit: 'key-create',
      ask: async () => {
        const command = {
          type: 'key-create',
          tailnet: this.tailnet,
          description: name,
          isReusable,
          isPreapproved: true,
        } as const;
        made = (await administer(command)) as AdminResults['key-create'];
        return [[this.#path('key', name), { id: made.id }]];
      },
      // Without the answer nobody knows the key: it is there and of no use.
      done: () => {
        if (made !== undefined) this.#keys.push({ name, id: made.id, text: made.key!, isReusable, uses: 0 });
      },
    };
  }

  #revoke(key: Key): Step {
    return {
      what: `revocation of ${key.name}`,
      entries: [[this.#path('key', key.name), { isRevoked: true }]],
      audit: 'key-revoke',
      ask: () => administer({ type: 'key-revoke', tailnet: this.tailnet, id: key.id }).then(() => []),
      done: () => void (this.#keys = this.#keys.filter(other => other !== key)),
    };
  }

  #makeUser(name: string): Step {
    return {
      what: `user ${name}`,
      entries: [[this.#path('user', name), { displayName: `of ${name}` }]],
      audit: 'user-create',
      ask: () => {
        const command = {
          type: 'user-create',
          tailnet: this.tailnet,
          loginName: name,
          displayName: `of ${name}`,
        } as const;
        return administer(command).then(() => []);
      },
      done: () => void this.#users.push(name),
    };
  }

  #makeToken(name: string): Step {
    let id = '';
    return {
      what: `token ${name}`,
      entries: [[this.#path('token', name), {}]],
      audit: 'token-create',
      ask: async () => {
        const command = { type: 'token-create', tailnet: this.tailnet, description: name } as const;
        id = ((await administer(command)) as AdminResults['token-create']).id;
        return [[this.#path('token', name), { id }]];
      },
      done: () => {
        if (id !== '') this.#tokens.push({ name, id });
      },
    };
  }

  #dropToken(token: { name: string; id: string }): Step {
    return {
      what: `end of token ${token.name}`,
      entries: [[this.#path('token', token.name), null]],
      audit: 'token-revoke',
      ask: () => administer({ type: 'token-revoke', tailnet: this.tailnet, id: token.id }).then(() => []),
      done: () => void (this.#tokens = this.#tokens.filter(other => other !== token)),
    };
  }

  #update(): Step {
    const requiresApproval = !this.#isStrict;
    return {
      what: 'approval',
      entries: [[this.#path('tailnet', this.tailnet), { requiresApproval }]],
      audit: 'tailnet-update',
      ask: () => administer({ type: 'tailnet-update', tailnet: this.tailnet, requiresApproval }).then(() => []),
      done: () => void (this.#isStrict = requiresApproval),
    };
  }

  async #join(name: string, key: Key): Promise<Step> {
    const device = new TestDevice();
    await reach(device);
    const fields = { nodeKey: device.node, name, authKey: key.id, endpoints: '' };
    return {
      what: `device ${name}`,
      entries: [
        [this.#device(device), fields],
        [this.#path('key', key.name), { uses: key.uses + 1 }],
      ],
      audit: 'device-join',
      ask: () => register(device, { NodeKey: device.node, Auth: { AuthKey: key.text }, Hostinfo: { Hostname: name } }),
      done: () => {
        key.uses++;
        this.#members.push({ device, name, node: device.node, isSeen: false });
      },
    };
  }

  #rename({ device, node }: Member, name: string): Step {
    const at = this.#members.findIndex(member => member.device === device);
    const command = { type: 'device-rename', tailnet: this.tailnet, device: this.#members[at]!.name, name } as const;
    return {
      what: `name ${name}`,
      entries: [[this.#device(device), { name }]],
      audit: 'device-rename',
      ask: () => administer(command).then(() => []),
      done: () => void (this.#members[at] = { ...this.#members[at]!, device, node, name }),
    };
  }

  #remove(member: Member): Step {
    return {
      what: `removal of ${member.name}`,
      entries: [[this.#device(member.device), null]],
      audit: 'device-remove',
      ask: () => administer({ type: 'device-remove', tailnet: this.tailnet, device: member.name }).then(() => []),
      done: () => {
        member.device.socket.destroy();
        this.#members = this.#members.filter(other => other !== member);
      },
    };
  }

  /** The device asks for the whole map, and learns its address. */
  #look(member: Member): Step {
    const { device } = member;
    return {
      what: `map of ${member.name}`,
      entries: [],
      ask: async () => {
        const body = await answer(device, '/machine/map', { Version: 113, NodeKey: member.node, Stream: false });
        const [message] = messagesOf(body) as [{ Node: { Addresses: string[] } }];
        return [[this.#device(device), { address: message.Node.Addresses[0]!.split('/')[0]! }]];
      },
      done: () => {
        member.isSeen = true;
        if (Math.random() < 0.5) device.request('/machine/map', { Version: 113, NodeKey: member.node, Stream: true });
      },
    };
  }

  #rotate(member: Member): Step {
    const { device, node } = member;
    const next = formatKey('nodekey', publicOf(SecretKey.generate(random)));
    return {
      what: `node key of ${member.name}`,
      entries: [[this.#device(device), { nodeKey: next }]],
      audit: 'device-rotate',
      ask: () => register(device, { NodeKey: next, OldNodeKey: node }),
      done: () => void (member.node = next),
    };
  }

  #move(member: Member): Step {
    const endpoints = [`192.0.2.${this.#count % 250}:${1000 + this.#count}`, `198.51.100.1:${1000 + this.#count}`];
    const { device, node } = member;
    const update = { Version: 113, NodeKey: node, Stream: false, OmitPeers: true, Endpoints: endpoints };
    return {
      what: `endpoints of ${member.name}`,
      entries: [[this.#device(device), { endpoints: endpoints.join(' ') }]],
      ask: () => answer(device, '/machine/map', update).then(() => []),
      done: () => undefined,
    };
  }

  #path(kind: string, name: string): string {
    return `${this.tailnet}/${kind}/${name}`;
  }

  #device(device: TestDevice): string {
    return this.#path('device', formatKey('mkey', publicOf(device.machineKey)));
  }
}

/** Connects a device that is not. */
async function reach(device: TestDevice): Promise<void> {
  if (device.socket !== undefined && !device.socket.destroyed && !device.isClosed) return;
  device.responses.clear();
  await device.connect(target.url).catch(error => {
    throw new Unanswered(String(error));
  });
  if (device.isClosed) throw new Unanswered('closed');
}

async function answer(device: TestDevice, path: string, body: object): Promise<Uint8Array> {
  const response = await device.ask(path, body);
  if (!response.isEnded) throw new Unanswered('closed');
  if (response.status !== 200) throw new Error(`${path}: ${response.status} ${Buffer.from(response.body)}`);
  return response.body;
}

async function register(device: TestDevice, fields: object): Promise<Entries> {
  const body = await answer(device, '/machine/register', { Version: 113, ...fields });
  const { Error: refusal } = JSON.parse(Buffer.from(body).toString());
  if (refusal) throw new Error(`register: ${refusal}`);
  return [];
}

/** One command over the socket in the data folder. */
function administer(command: AdminCommand): Promise<unknown> {
  const body = JSON.stringify(command);
  const { socketPath } = target;
  return new Promise((resolve, reject) => {
    const headers = { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) };
    const asked = request({ socketPath, agent, path: '/api/v1/command', method: 'POST', headers });
    const fail = (error: Error) => reject(new Unanswered(String(error)));
    asked.on('error', fail).on('response', response => {
      const chunks: Buffer[] = [];
      response.on('error', fail).on('data', chunk => chunks.push(chunk));
      response.on('end', () => {
        const text = Buffer.concat(chunks).toString();
        if (response.statusCode === 200) resolve(JSON.parse(text));
        else reject(new Error(`${command.type}: ${response.statusCode} ${text}`));
      });
    });
    asked.end(body);
  });
}

const workers = Array.from({ length: WORKERS }, (_, number) => new Worker(number));

function go(command: Extract<LoadCommand, { type: 'go' }>): void {
  target = command;
  agent.destroy();
  agent = new Agent({ keepAlive: true });
  isStopping = false;
  halted = 0;
  for (const worker of workers)
    void worker.run(command.applied.includes(worker.tailnet)).then(() => {
      if (++halted === WORKERS) say({ type: 'down' });
    });
}

process.on('message', (command: LoadCommand) => {
  if (command.type === 'go') go(command);
  else isStopping = true;
});
process.on('disconnect', () => process.exit());
