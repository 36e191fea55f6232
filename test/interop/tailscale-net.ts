/**
 * The ground on which tailnet cases stand: one namespace per party, joined by a bridge that leads nowhere else, names in
 * a hosts file that only these namespaces see, and a certificate authority that lives as long as the case.
 *
 * Addresses are 10.77.0.0/24, names end in `lab.test`. Nothing reaches outside: there is no route, and names that the
 * hosts file does not hold are refused at once.
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Lab, Namespace } from './lab.ts';

/** Where the kernel's `ip netns exec` finds files that stand in for those of /etc. */
const NETNS_ETC = '/etc/netns';

/** Servers that a case may start, with a fixed address each, so that the hosts file is the same for all. */
const SERVERS = Object.freeze({
  control: '10.77.0.1',
  headscale: '10.77.0.2',
  derper: '10.77.0.3',
});

/** Which server a party is. */
export type ServerName = keyof typeof SERVERS;

/** One party: a namespace with an address on the common network. */
export interface Party {
  readonly space: Namespace;
  readonly address: string;
  /** `NAME.lab.test` for a server, else the address. */
  readonly host: string;
  /** Name of its device on the common network. */
  readonly device: string;
}

/** A certificate with its key, as files. */
export interface Certificate {
  readonly certFile: string;
  readonly keyFile: string;
}

/** The common network of one case. */
export class TailnetNet {
  readonly lab: Lab;
  readonly folder: string;
  /** The authority's certificate (PEM): what programs trust. */
  readonly caFile: string;
  readonly #hub: Namespace;
  #nextHost = 11;

  private constructor(lab: Lab, hub: Namespace) {
    this.lab = lab;
    this.#hub = hub;
    this.folder = lab.directory();
    this.caFile = join(this.folder, 'ca.pem');
  }

  /** Makes the bridge and the authority. */
  static async make(lab: Lab): Promise<TailnetNet> {
    const hub = await lab.namespace('hub');
    const net = new TailnetNet(lab, hub);
    await hub.ip('link', 'add', 'hub', 'type', 'bridge');
    await hub.ip('link', 'set', 'hub', 'up');
    const subject = ['-subj', '/CN=motenet lab authority', '-days', '2'];
    const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-keyout', net.#file('ca.key')];
    const uses = ['-addext', 'basicConstraints=critical,CA:TRUE', '-addext', 'keyUsage=critical,keyCertSign'];
    await lab.run(undefined, ['openssl', 'req', '-x509', ...key, ...subject, ...uses, '-out', net.caFile]);
    return net;
  }

  /** Adds a party; a server gets its own name and address. */
  async party(label: string, server?: ServerName): Promise<Party> {
    const space = await this.lab.namespace(label);
    const address = server === undefined ? `10.77.0.${this.#nextHost++}` : SERVERS[server];
    const host = server === undefined ? address : `${server}.lab.test`;
    const device = this.lab.uniqueName('p');
    const port = this.lab.uniqueName('h');
    const peer = ['type', 'veth', 'peer', 'name', port, 'netns', this.#hub.name];
    await this.lab.run(undefined, ['ip', 'link', 'add', device, 'netns', space.name, ...peer]);
    await this.#hub.ip('link', 'set', port, 'master', 'hub', 'up');
    await space.addAddress(device, `${address}/24`);
    await space.ip('link', 'set', device, 'up');
    this.writeEtc(space);
    return { space, address, host, device };
  }

  /** A certificate of the authority for names and addresses; the first is its common name. */
  async certificate(names: readonly string[]): Promise<Certificate> {
    const base = names[0]!.replace(/[^a-z0-9.]/g, '-');
    const made = { certFile: this.#file(`${base}.crt`), keyFile: this.#file(`${base}.key`) };
    const alternatives = names.map(name => `${/^[\d.]+$/.test(name) ? 'IP' : 'DNS'}:${name}`).join(',');
    const request = this.#file(`${base}.csr`);
    const extensions = this.#file(`${base}.ext`);
    writeFileSync(extensions, `subjectAltName=${alternatives}\nextendedKeyUsage=serverAuth\n`);
    const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-keyout', made.keyFile];
    await this.lab.run(undefined, ['openssl', 'req', '-new', ...key, '-subj', `/CN=${names[0]}`, '-out', request]);
    const signer = ['-CA', this.caFile, '-CAkey', this.#file('ca.key'), '-CAcreateserial', '-days', '2'];
    const files = ['-in', request, '-extfile', extensions, '-out', made.certFile];
    await this.lab.run(undefined, ['openssl', 'x509', '-req', ...signer, ...files]);
    return made;
  }

  /** The authority's certificate as text. */
  caText(): string {
    return readFileSync(this.caFile, 'utf8');
  }

  #file(name: string): string {
    return join(this.folder, name);
  }

  /** Gives a namespace the hosts file of this network, and no other source of names. */
  writeEtc(space: Namespace): void {
    const folder = join(NETNS_ETC, space.name);
    this.lab.removeLater(folder);
    mkdirSync(folder, { recursive: true });
    const hosts = Object.entries(SERVERS).map(([name, address]) => `${address} ${name}.lab.test\n`);
    writeFileSync(join(folder, 'hosts'), `127.0.0.1 localhost\n${hosts.join('')}`);
    // Nothing listens there, so that a name that is not in the file fails at once.
    writeFileSync(join(folder, 'resolv.conf'), 'nameserver 127.0.0.1\noptions timeout:1 attempts:1\n');
  }
}

/** Lets no UDP into a party but what STUN servers answer: no direct path leads there, only a relay. Needs nft. */
export async function blockUdp({ space }: Party): Promise<void> {
  const rule = 'iifname != "lo" udp sport != 3478 drop';
  const input = `table inet lab {\n chain in {\n type filter hook input priority 0;\n ${rule}\n }\n}\n`;
  await space.lab.run(space, ['nft', '-f', '-'], { input });
}
