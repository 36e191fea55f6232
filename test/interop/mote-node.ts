/**
 * A mote in a party of its own that joins a tailnet (tailscale-mote.ts), from the harness's side.
 */
import { type Json, Remote } from './json-lines.ts';
import { type Lab, until } from './lab.ts';
import type { Party, TailnetNet } from './tailscale-net.ts';

/** How a mote joins. */
export interface JoinOptions {
  readonly control: string;
  readonly authKey?: string | undefined;
  readonly isEphemeral?: boolean;
}

/** One mote; what it stored survives its process. */
export class MoteNode {
  readonly lab: Lab;
  readonly net: TailnetNet;
  readonly party: Party;
  readonly name: string;
  /** Its IPv4 address in the tailnet, once it is a member. */
  address = '';
  side: Remote;
  readonly #storeFolder: string;
  #joined: JoinOptions | undefined;

  private constructor(net: TailnetNet, party: Party, name: string) {
    this.lab = net.lab;
    this.net = net;
    this.party = party;
    this.name = name;
    this.#storeFolder = net.lab.directory();
    this.side = new Remote(net.lab, party.space, 'tailscale-mote.ts');
  }

  static async make(net: TailnetNet, name: string, o: { party?: Party } = {}): Promise<MoteNode> {
    return new MoteNode(net, o.party ?? (await net.party(name.slice(0, 4))), name);
  }

  /** `up()`: settles when it is a member. */
  async up(o: JoinOptions, timeoutMs = 40_000): Promise<void> {
    this.#joined = o;
    const { net, name } = this;
    const options = { ...o, name, authorities: net.caText(), storeFolder: this.#storeFolder };
    const { addresses } = await this.side.call('open', options, timeoutMs);
    this.address = (addresses as string[]).find(text => !text.includes(':'))!.replace(/\/.*/, '');
  }

  /** Kills it and starts it again with what it stored, without the auth key. */
  async restart(): Promise<void> {
    this.side.program.signal('SIGKILL');
    await this.side.program.ended;
    this.side = new Remote(this.lab, this.party.space, 'tailscale-mote.ts');
    await this.up({ ...this.#joined!, authKey: undefined });
  }

  async stop(): Promise<void> {
    await this.side.program.stop();
  }

  /** Its `status().tailnet`. */
  async tailnet(): Promise<Json> {
    return (await this.side.call('tailnet')).tailnet as Json;
  }

  /** The entry of the peer whose name begins so. */
  async peer(name: string): Promise<Json | undefined> {
    const { peers } = await this.tailnet();
    return (peers as Json[]).find(peer => (peer.name as string).split('.')[0] === name);
  }

  /** Waits until it lists a peer of that name that is online and has a home relay. */
  async sees(name: string, timeoutMs = 20_000): Promise<Json> {
    return until(`${this.name} sees ${name}`, timeoutMs, async () => {
      const peer = await this.peer(name);
      return peer !== undefined && peer.isOnline === true && peer.relay !== undefined && peer;
    });
  }

  /** Waits until it lists no peer of that name. */
  async forgets(name: string, timeoutMs = 20_000): Promise<void> {
    await until(`${this.name} no longer sees ${name}`, timeoutMs, async () => (await this.peer(name)) === undefined);
  }

  /** Its own view in one line, as evidence. */
  async evidence(): Promise<string> {
    const { state, name, peers } = await this.tailnet();
    const shown = (peers as Json[]).map(peer => {
      const online = peer.isOnline === true ? 'online' : 'offline';
      return `${peer.name} ${online} ${peer.path} rx ${peer.rxBytes} tx ${peer.txBytes}`;
    });
    return `mote ${name} ${state}: ${shown.join('; ')}`;
  }
}
