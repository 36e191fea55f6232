/** Help texts. */

/** One line per command, in the order of the help. */
export const COMMANDS: Readonly<Record<string, string>> = /* @__PURE__ */ Object.freeze({
  wg: 'Join a WireGuard network with a wg-quick file, without root',
  genkey: 'Print a new private key',
  pubkey: 'Read a private key from standard input, print its public key',
  genpsk: 'Print a new preshared key',
  help: 'Show help for a command',
});

const WG = `Usage: motenet wg FILE.conf [flags]

Joins a WireGuard network in this process, as the wg-quick file says: no root, no interface, no routes.
FILE is a path, or - for standard input. Without flags it answers pings and nothing else.

  --expose PORT=HOST:PORT[/udp]          A port on the tunnel address leads to a service that this machine reaches.
  --forward [BIND:]PORT=HOST:PORT[/udp]  A port on this machine leads to HOST:PORT inside the tunnel.
  --socks [BIND:]PORT                    A SOCKS5 proxy (TCP and UDP) on this machine into the tunnel.
  --host NAME=ADDRESS                    A name for an address inside the tunnel, for --forward and --socks.
  --json                                 Events as JSON lines on standard output.
  --log LEVEL                            error, warn, info (default) or debug. --verbose (-v) is --log debug.
  --debug                                Stack traces of errors.

All but --json, --log, --verbose and --debug can be given several times. IPv6 addresses stand in brackets.
BIND is 127.0.0.1 unless told; port 0 in front of = lets the system choose (--forward, --socks).
Standard output has one line that begins with "ready" once everything listens. Ctrl-C ends it cleanly.

  motenet wg office.conf --expose 80=127.0.0.1:3000
  motenet wg office.conf --forward 5432=10.0.0.7:5432 --forward [::1]:5353=10.0.0.1:53/udp
  motenet wg office.conf --socks 1080        then: curl --socks5 127.0.0.1:1080 http://10.0.0.7/

Keys of the file that need root (Table, FwMark, PreUp, PostUp, PreDown, PostDown, SaveConfig) are named and ignored.
Exit codes: 0 ended by a signal, 1 failed while running, 2 wrong file, flag, key, address or port.`;

const GENKEY = `Usage: motenet genkey

Prints a new private key in base64, as \`wg genkey\` does. Keep it secret:

  umask 077; motenet genkey > private.key`;

const PUBKEY = `Usage: motenet pubkey < private.key

Reads a private key in base64 from standard input and prints its public key, as \`wg pubkey\` does.`;

const GENPSK = `Usage: motenet genpsk

Prints a new preshared key in base64, as \`wg genpsk\` does. Both peers need the same one.`;

const TEXTS: Readonly<Record<string, string>> = /* @__PURE__ */ Object.freeze({
  wg: WG,
  genkey: GENKEY,
  pubkey: PUBKEY,
  genpsk: GENPSK,
  help: 'Usage: motenet help COMMAND',
});

/** The help of one command; undefined when there is no such command. */
export function commandHelp(command: string): string | undefined {
  return Object.hasOwn(TEXTS, command) ? TEXTS[command] : undefined;
}

/** The help that `motenet --help` prints. */
export function generalHelp(): string {
  const lines = Object.entries(COMMANDS).map(([name, text]) => `  ${name.padEnd(8)} ${text}`);
  return `motenet: a private WireGuard network for any JavaScript runtime

Usage: motenet COMMAND [arguments]

${lines.join('\n')}

  --help, -h      Show this help; \`motenet help COMMAND\` tells more
  --version, -V   Print the version`;
}
