/**
 * `motenet serve` in a party's namespace, over TLS with the lab's authority, administered by the `motenet` command on the
 * same machine, as a person would.
 */
import { join } from 'node:path';
import { expect } from './case.ts';
import { type Json, TSX } from './json-lines.ts';
import { type Finished, type Lab, type Program, until } from './lab.ts';
import type { Party, TailnetNet } from './tailscale-net.ts';

const CLI = new URL('../../targets/cli/main.ts', import.meta.url).pathname;

/** Our coordinator with its relay and STUN. */
export class OurCoordinator {
  readonly lab: Lab;
  readonly party: Party;
  /** What clients are told. */
  readonly url: string;
  /** Its data folder, with the socket of its administration. */
  readonly dataDir: string;
  readonly #flags: readonly string[];
  readonly #secrets: string[] = [];
  #server: Program | undefined;

  private constructor(lab: Lab, party: Party, url: string, flags: readonly string[]) {
    this.lab = lab;
    this.party = party;
    this.url = url;
    this.dataDir = join(lab.directory(), 'data');
    this.#flags = flags;
  }

  /** Makes its party and starts it: `https://control.lab.test`, or, `isPlain`, as it is without any configuration. */
  static async make(net: TailnetNet, o: { isPlain?: boolean } = {}): Promise<OurCoordinator> {
    const party = await net.party('ctl', 'control');
    if (o.isPlain === true) {
      const url = `http://${party.address}:8080`;
      const plain = new OurCoordinator(net.lab, party, url, ['--url', url]);
      await plain.start();
      return plain;
    }
    const { certFile, keyFile } = await net.certificate([party.host]);
    const url = `https://${party.host}`;
    const flags = ['--listen', '0.0.0.0:443', '--url', url, '--tls-cert', certFile, '--tls-key', keyFile];
    const made = new OurCoordinator(net.lab, party, url, flags);
    await made.start();
    return made;
  }

  async start(): Promise<void> {
    const args = ['serve', '--data', this.dataDir, '--log', 'debug', ...this.#flags];
    const server = this.lab.start(this.party.space, [...this.#cli(), ...args], { name: 'motenet serve' });
    this.#server = server;
    await until('motenet serve is ready', 30_000, () => {
      if (!server.isRunning) throw new Error(`motenet serve ended: ${server.tail()}`);
      return /^ready/m.test(server.stdout);
    });
  }

  /** SIGKILL; the data stays. */
  async kill(): Promise<void> {
    this.#server?.signal('SIGKILL');
    await this.#server?.ended;
  }

  /** SIGKILL, and started again with the same data. */
  async restart(): Promise<void> {
    await this.kill();
    await this.start();
  }

  async stop(): Promise<void> {
    await this.#server?.stop(5000);
    this.#server = undefined;
  }

  /** What it wrote so far. */
  log(): string {
    return `${this.#server?.stdout ?? ''}${this.#server?.stderr ?? ''}`;
  }

  /** A new auth key. */
  async authKey(...flags: readonly string[]): Promise<string> {
    const { key } = (await this.json('keys', 'create', ...flags)) as Json;
    this.#secrets.push(key as string);
    return key as string;
  }

  /** Fails when an auth key stands in what the server wrote. */
  expectNoSecretsInLog(): void {
    const log = this.log();
    expect(log.includes('control: register'), 'the log of the coordinator is not what it was thought to be');
    for (const secret of this.#secrets)
      expect(!log.includes(secret.slice(-43)), 'an auth key stands in the log of the coordinator');
  }

  /** The devices, and logins that wait. */
  async devices(): Promise<Json[]> {
    return (await this.json('devices', 'list')) as Json[];
  }

  /** The listed device of that name. */
  async device(name: string): Promise<Json | undefined> {
    return (await this.devices()).find(device => device.name === name);
  }

  /** Its own list of devices in one line, as evidence. */
  async evidence(): Promise<string> {
    const shown = (await this.devices()).map(device => {
      const online = device.isOnline === true ? 'online' : 'offline';
      return `${device.name} ${device.addresses[0]} ${device.state} ${online} (${device.version})`;
    });
    return `our coordinator: ${shown.join('; ')}`;
  }

  /** Runs a `motenet` command on this machine; throws with its words when it fails. */
  command(...args: readonly string[]): Promise<Finished> {
    return this.lab.run(this.party.space, [...this.#cli(), ...args, '--data', this.dataDir]);
  }

  async json(...args: readonly string[]): Promise<unknown> {
    return JSON.parse((await this.command(...args, '--json')).stdout) as unknown;
  }

  #cli(): string[] {
    return [process.execPath, '--import', TSX, CLI];
  }
}
