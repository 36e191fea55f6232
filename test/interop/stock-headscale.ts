/**
 * Stock headscale and stock derper in namespaces of their own, over TLS with the lab's authority.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Json } from './json-lines.ts';
import { type Lab, type Program, until } from './lab.ts';
import { HEADSCALE, NEWEST_TAILSCALE, stockProgram } from './programs.ts';
import type { Party, TailnetNet } from './tailscale-net.ts';

/** A stock headscale with one user, `lab`. */
export class Headscale {
  readonly lab: Lab;
  readonly party: Party;
  readonly version = HEADSCALE;
  /** What clients are told: `https://headscale.lab.test`. */
  readonly url: string;
  readonly #configFile: string;
  #server: Program | undefined;

  private constructor(net: TailnetNet, party: Party, configFile: string) {
    this.lab = net.lab;
    this.party = party;
    this.url = `https://${party.host}`;
    this.#configFile = configFile;
  }

  /** Makes its party and starts it; with `derper` the map names that relay alone, else headscale's own. */
  static async make(net: TailnetNet, derper?: Derper): Promise<Headscale> {
    const party = await net.party('hs', 'headscale');
    const folder = net.lab.directory();
    const { certFile, keyFile } = await net.certificate([party.host]);
    const mapFile = join(folder, 'derp.yaml');
    if (derper !== undefined) writeFileSync(mapFile, derper.region());
    const at = (name: string) => join(folder, name);
    const config = {
      server_url: `https://${party.host}`,
      listen_addr: '0.0.0.0:443',
      metrics_listen_addr: '127.0.0.1:9090',
      grpc_listen_addr: '127.0.0.1:50443',
      noise: { private_key_path: at('noise.key') },
      prefixes: { v4: '100.64.0.0/10', v6: 'fd7a:115c:a1e0::/48', allocation: 'sequential' },
      derp: {
        server: {
          enabled: derper === undefined,
          region_id: 999,
          region_code: 'lab',
          region_name: 'Lab',
          verify_clients: true,
          stun_listen_addr: '0.0.0.0:3478',
          private_key_path: at('derp.key'),
          automatically_add_embedded_derp_region: true,
          ipv4: party.address,
        },
        urls: [],
        paths: derper === undefined ? [] : [mapFile],
        auto_update_enabled: false,
      },
      disable_check_updates: true,
      database: { type: 'sqlite', sqlite: { path: at('db.sqlite'), write_ahead_log: true } },
      tls_cert_path: certFile,
      tls_key_path: keyFile,
      log: { level: 'info', format: 'text' },
      dns: { magic_dns: true, base_domain: 'tail.lab', override_local_dns: false, nameservers: { global: [] } },
      unix_socket: at('sock'),
      unix_socket_permission: '0700',
      logtail: { enabled: false },
    };
    const configFile = at('config.yaml');
    // JSON is YAML.
    writeFileSync(configFile, JSON.stringify(config, undefined, 2));
    const server = new Headscale(net, party, configFile);
    await server.start();
    await server.command(['users', 'create', 'lab']);
    return server;
  }

  async start(): Promise<void> {
    const command = [...this.#cli(), 'serve'];
    const server = this.lab.start(this.party.space, command, { name: 'headscale' });
    this.#server = server;
    await until('headscale answers', 20_000, async () => {
      if (!server.isRunning) throw new Error(`headscale ended: ${server.tail()}`);
      const { code } = await this.lab.run(this.party.space, [...this.#cli(), 'users', 'list'], { mayFail: true });
      return code === 0;
    });
  }

  async stop(): Promise<void> {
    await this.#server?.stop(5000);
    this.#server = undefined;
  }

  /** SIGKILL, and started again with the same data. */
  async restart(): Promise<void> {
    this.#server?.signal('SIGKILL');
    await this.#server?.ended;
    await this.start();
  }

  /** A new auth key of the user `lab`. */
  async authKey(...extra: readonly string[]): Promise<string> {
    const args = ['preauthkeys', 'create', '--user', '1', '--expiration', '1h', ...extra];
    return (await this.json(args)).key as string;
  }

  /** The nodes as headscale lists them. */
  async nodes(): Promise<Json[]> {
    return (await this.json(['nodes', 'list'])) as unknown as Json[];
  }

  /** Version and its own list of nodes in one line, as evidence. */
  async evidence(): Promise<string> {
    const shown = (await this.nodes()).map(node => {
      const addresses = (node.ip_addresses as string[]).join(' ');
      return `${node.id} ${node.given_name} ${addresses} ${node.online === true ? 'online' : 'offline'}`;
    });
    return `headscale ${this.version}: ${shown.join('; ')}`;
  }

  async json(args: readonly string[]): Promise<Json> {
    return JSON.parse((await this.command([...args, '--output', 'json'])).stdout) as Json;
  }

  command(args: readonly string[]) {
    return this.lab.run(this.party.space, [...this.#cli(), ...args]);
  }

  #cli(): string[] {
    return [stockProgram('headscale', 'headscale'), '--config', this.#configFile];
  }
}

/** A stock derper with STUN. */
export class Derper {
  readonly lab: Lab;
  readonly party: Party;
  readonly version = NEWEST_TAILSCALE;
  readonly url: string;
  /** What the map says beside host and address: `sha256-raw:…` for a certificate that it made itself. */
  certName: string | undefined;
  readonly #command: readonly string[];
  #server: Program | undefined;

  private constructor(lab: Lab, party: Party, hostname: string, folder: string) {
    this.lab = lab;
    this.party = party;
    this.url = `https://${party.host}/derp`;
    const certificate = ['-certmode', 'manual', '-certdir', folder, '-hostname', hostname];
    const ports = ['-a', ':443', '-http-port', '-1', '-stun', '-stun-port', '3478'];
    const program = stockProgram('tailscaled', 'derper');
    this.#command = [program, '-c', join(folder, 'derper.json'), ...ports, ...certificate];
  }

  /**
   * Starts it in a party of its own with a certificate of the lab's authority, or, `isPinned`, with one that it makes
   * and signs itself.
   */
  static async make(net: TailnetNet, o: { isPinned?: boolean } = {}): Promise<Derper> {
    const party = await net.party('derp', 'derper');
    const folder = net.lab.directory();
    const isPinned = o.isPinned === true;
    if (!isPinned) {
      const { certFile, keyFile } = await net.certificate([party.host]);
      await net.lab.run(undefined, ['cp', certFile, join(folder, `${party.host}.crt`)]);
      await net.lab.run(undefined, ['cp', keyFile, join(folder, `${party.host}.key`)]);
    }
    const derper = new Derper(net.lab, party, isPinned ? party.address : party.host, folder);
    await derper.start();
    if (isPinned) {
      const file = join(folder, `${party.address}.crt`);
      const { stdout } = await net.lab.run(undefined, [
        'openssl',
        'x509',
        '-in',
        file,
        '-noout',
        '-fingerprint',
        '-sha256',
      ]);
      derper.certName = `sha256-raw:${stdout
        .slice(stdout.indexOf('=') + 1)
        .replace(/[:\s]/g, '')
        .toLowerCase()}`;
    }
    return derper;
  }

  async start(): Promise<void> {
    const env = { TS_NO_LOGS_NO_SUPPORT: 'true' };
    const server = this.lab.start(this.party.space, this.#command, { name: 'derper', env });
    this.#server = server;
    await until('derper listens', 15_000, async () => {
      if (!server.isRunning) throw new Error(`derper ended: ${server.tail()}`);
      const { stdout } = await this.lab.run(this.party.space, ['ss', '-ltnH', 'sport = :443']);
      return stdout.trim() !== '';
    });
  }

  async restart(): Promise<void> {
    this.#server?.signal('SIGKILL');
    await this.#server?.ended;
    await this.start();
  }

  /** What it wrote so far. */
  log(): string {
    return this.#server?.stderr ?? '';
  }

  /** Version and its own counters, which it shows to its own machine. */
  async evidence(): Promise<string> {
    const { host, space } = this.party;
    const args = ['curl', '-sk', '--max-time', '5', '--connect-to', `::127.0.0.1:443`, `https://${host}/debug/vars`];
    const { derp } = JSON.parse((await this.lab.run(space, args)).stdout) as { derp: Json };
    const names = ['accepts', 'gauge_current_connections', 'packets_sent', 'packets_received'];
    const shown = names.map(name => `${name} ${JSON.stringify(derp[name])}`);
    return `derper ${this.version}: ${shown.join(', ')}`;
  }

  /** Its region as a file for headscale: YAML, of which JSON is a part, but for keys that are numbers. */
  region(): string {
    const node: Json = {
      name: '900a',
      regionid: 900,
      hostname: this.certName === undefined ? this.party.host : this.party.address,
      ipv4: this.party.address,
      stunport: 3478,
      derpport: 443,
    };
    if (this.certName !== undefined) node.certname = this.certName;
    const region = { regionid: 900, regioncode: 'lab', regionname: 'Lab', nodes: [node] };
    return `regions:\n  900: ${JSON.stringify(region)}\n`;
  }
}
