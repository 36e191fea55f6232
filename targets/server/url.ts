/**
 * How clients reach a server: the URL they are given, what follows from it, and what is wrong with it.
 *
 * Clients of the control protocol connect twice: for the key to the URL as it is, for the rest first over plain HTTP and
 * then over TLS on another port, unless the URL's host is a private address. A URL with a name and without TLS works
 * until the first reconnect, then never again; that is what {@link urlWarnings} is about.
 */
import { networkInterfaces } from 'node:os';
import { parseAddress } from '../../lib/base/address.ts';

/** A URL, taken apart. */
export interface ServerUrl {
  /** As clients are told: without a slash at the end. */
  readonly text: string;
  readonly isTls: boolean;
  /** Name or address, without brackets. */
  readonly host: string;
  readonly port: number;
}

/** Reads a URL. RangeError for anything but `http://HOST`, `https://HOST`, both with or without a port. */
export function parseServerUrl(text: string): ServerUrl {
  const complain = (what: string) => new RangeError(`"url" expected ${what}, got ${JSON.stringify(text)}`);
  let url: URL;
  try {
    url = new URL(text);
  } catch {
    throw complain('http:// or https:// and a host');
  }
  const { protocol, username, password, pathname, search, hash, hostname, port } = url;
  if (protocol !== 'http:' && protocol !== 'https:') throw complain('http:// or https:// and a host');
  if (username !== '' || password !== '') throw complain('no name and no password');
  if (pathname !== '/' || search !== '' || hash !== '') throw complain('nothing behind the host and the port');
  const isTls = protocol === 'https:';
  return {
    text: `${protocol}//${url.host}`,
    isTls,
    host: hostname.replace(/^\[|\]$/g, ''),
    port: port === '' ? (isTls ? 443 : 80) : Number(port),
  };
}

/** The URL of a listener that nobody gave one: for all addresses, the machine's first private one. */
export function urlOfListener(host: string, port: number, isTls: boolean): ServerUrl {
  const isAll = host === '0.0.0.0' || host === '::' || host === '';
  const address = isAll ? ownAddress() : host;
  const text = address.includes(':') ? `[${address}]` : address;
  return parseServerUrl(`${isTls ? 'https' : 'http'}://${text}:${port}`);
}

function ownAddress(): string {
  const all = Object.values(networkInterfaces()).flatMap(entries => entries ?? []);
  const outside = all.filter(({ internal, family }) => !internal && family === 'IPv4').map(({ address }) => address);
  return outside.find(isPrivateHost) ?? outside[0] ?? '127.0.0.1';
}

/**
 * Whether clients believe that this host is reached without TLS: an address for private use or of the machine itself
 * (RFC 1918, RFC 4193, loopback), or exactly `localhost`. A name that resolves to such an address does not count.
 */
export function isPrivateHost(host: string): boolean {
  if (host === 'localhost') return true;
  const bytes = parseAddress(host);
  if (bytes === undefined) return false;
  const [a, b] = [bytes[0]!, bytes[1]!];
  if (bytes.length === 4) return a === 10 || a === 127 || (a === 172 && (b & 0xf0) === 16) || (a === 192 && b === 168);
  return (a & 0xfe) === 0xfc || bytes.every((byte, i) => byte === (i === 15 ? 1 : 0));
}

/** What an operator should know about a URL, a sentence or two each. */
export function urlWarnings(url: ServerUrl, hasCertificate: boolean): string[] {
  const warnings: string[] = [];
  if (!url.isTls && !isPrivateHost(url.host))
    warnings.push(
      `the URL ${url.text} is a name or a public address without TLS: after this server has restarted once, clients of ` +
        `Tailscale 1.76 and later try only https://${bracketed(url.host)}:443, and stay away. Serve https (a certificate ` +
        `for ${url.host}, or a proxy that passes upgrades on), or use a private address such as http://10.0.0.5:${url.port}`,
    );
  if (url.isTls && !hasCertificate)
    warnings.push(
      `the URL ${url.text} is https and this server has no certificate: a proxy in front has to end TLS, and to pass on ` +
        'POST requests with "Upgrade: tailscale-control-protocol"',
    );
  return warnings;
}

function bracketed(host: string): string {
  return host.includes(':') ? `[${host}]` : host;
}
