/** Help texts. */
import { isAdminCommand } from './admin-args.ts';
import { adminHelp } from './admin-help.ts';

/** One line per command, in the order of the help. */
export const COMMANDS: Readonly<Record<string, string>> = /* @__PURE__ */ Object.freeze({
  wg: 'Join a WireGuard network with a wg-quick file, without root',
  up: 'Join the tailnet of a coordinator, without root',
  status: 'Show a running `motenet up`: itself, its peers, what is carried; or a coordinator (--server)',
  netcheck: 'Show how this machine is connected: UDP, addresses, NAT, nearest relays',
  doctor: 'Say what is wrong with the device here, or with a coordinator (--server), and what to do',
  nc: 'Connect standard input and output to a port inside the tailnet',
  ping: 'Ping a device of the tailnet: which path answers, and how fast',
  whois: 'Show who has an address inside the tailnet',
  logout: 'Leave the tailnet for good',
  serve: 'Run a coordinator, with its relay and STUN',
  keys: 'Auth keys, with which devices join: create, list, revoke',
  devices: 'Devices: list, approve, rename, tag, routes, expire, remove',
  tailnets: 'Isolated networks on a coordinator: list, create, update, remove',
  users: 'Users, who own devices: list, create, rename, remove',
  policy: 'Access rules: check, get, set, diff, explain, edit',
  tokens: 'Tokens for administration from elsewhere: create, list, revoke',
  audit: 'Show who changed what on a coordinator',
  backup: 'Save a copy of a coordinator',
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

const UP = `Usage: motenet up --control URL [flags]

Joins a tailnet in this process: no root, no interface, no routes. Without an auth key it shows a page (and its QR code)
where somebody lets this device in. Who it is lies in the state folder, so that the next start needs neither.

  --control URL          The coordinator: https://…, or http://… with a private address or localhost.
  --authkey KEY          Joins without a person. Others on this machine can see the command line, so rather:
  --authkey-file FILE    The same from a file (- is standard input), or from the variable MOTENET_AUTHKEY.
  --name NAME            What the device wants to be called; this machine's name unless told.
  --state DIR            Its keys and its socket (made with mode 0700); $XDG_STATE_HOME/motenet or
                         ~/.local/state/motenet unless told. One per device.
  --ephemeral            The device is removed soon after it has gone.
  --ca FILE              Certificates (PEM) of authorities that are trusted beside the usual ones.

  --expose, --forward, --socks, --host, --json, --log, --verbose, --debug: as in \`motenet help wg\`; --forward and
                         --socks know the names of the tailnet.

Standard output has one line that begins with "ready" once everything listens. Ctrl-C ends it cleanly; meanwhile
\`motenet status\`, \`nc\`, \`ping\`, \`whois\` and \`logout\` ask it through its state folder.

  motenet up --control https://mote.example --expose 80=127.0.0.1:3000
  motenet up --control http://10.0.0.1:8080 --authkey-file key --state ./state --forward 5432=db:5432

Exit codes: 0 ended by a signal or \`motenet logout\`, 1 failed while running, 2 wrong flag, file or folder.`;

const STATUS = `Usage: motenet status [--json] [--verbose] [--state DIR]
       motenet status --server [--json] [--data DIR | --admin URL [--token T]]

Shows a running \`motenet up\`: itself, its services, and each peer with name, address, whether it is online, how packets
reach it (idle: none lately; direct: at that address; relay: through that one, and why), round trip of a direct path,
bytes in and out, last handshake. --verbose (-v) adds keys and dropped packets. --json prints one object. --state says
whose, as with \`motenet up\`.

With --server a coordinator: how long it has run, who is connected, its tailnets and their policies, and what somebody
has to look at. Which one is said as in \`motenet help devices\`.`;

const DOCTOR = `Usage: motenet doctor [--json] [--state DIR]
       motenet doctor --server [--json] [--data DIR | --admin URL [--token T]]

Says in one screen what is wrong with the device here, and what to do: whether it runs, its coordinator, clock, login or
approval, UDP, NAT, home relay, key, policy, peers and their paths. One line per check: ok, warning or problem, what was
found, and behind -> the next step. It asks a running \`motenet up\`, also one that still waits to be let in; where none
runs, it looks at the state folder. --json prints one object. --state says whose, as with \`motenet up\`.
With --server it looks at a coordinator instead: whether it runs and can write, its setup, and policies whose access
tests fail or that are not in force. Which one is said as in \`motenet help devices\`.
Exit code 1 when there is a problem.`;

const NETCHECK = `Usage: motenet netcheck [--json] [--state DIR | --control URL]

Shows how this machine is connected: whether UDP works, on IPv4 and IPv6, the addresses that others see, whether the NAT
keeps one for all destinations, the nearest relays with their round trips, and which one is home and why.
It asks a running \`motenet up\` (--state says whose), which checks with its own socket. --control asks the relays of a
coordinator instead, with no need to be a member. --json prints one object.`;

const NC = `Usage: motenet nc NAME PORT [--timeout SECONDS] [--state DIR]

Connects standard input and output to a TCP port inside the tailnet, through a running \`motenet up\`. NAME may be an
address. The end of standard input ends this half; the command ends when the other half has ended, too (at a terminal,
as soon as the other side ends). Exit code 1 when the connection cannot be had (30 seconds unless told) or breaks.

  ssh -o ProxyCommand='motenet nc %h %p' db`;

const PING = `Usage: motenet ping NAME [--count N] [--timeout SECONDS] [--until-direct | --icmp] [--json] [--state DIR]

Pings a device of the tailnet by name or address, beneath the tunnel: says which path answered first, directly or
through which relay, and how long that took. 4 times (--count, -c), waiting 5 seconds for each answer unless told.

  --until-direct   Ends with the first direct answer; a failure when there is none (in 10 pings unless told).
  --icmp           Inside the tunnel, as the packets of programs go: the policy of the device must allow it.

Exit code 1 when no reply came.`;

const WHOIS = `Usage: motenet whois ADDRESS [--json] [--state DIR]

Shows who has an address inside the tailnet: name, owner or tags, and the capabilities that the policy gives it here.
Exit code 1 when nobody has it.`;

const LOGOUT = `Usage: motenet logout [--json] [--state DIR]

Leaves the tailnet for good: the coordinator ends the membership, the state folder forgets the key of it, and the
running \`motenet up\` ends.`;

const SERVE = `Usage: motenet serve [flags]

Runs a coordinator in this process: devices join it, find each other through it, and reach each other through its relay
where nothing else works. Nothing has to be configured; what to do next is printed.

  --data DIR             Where everything is kept (made with mode 0700); $XDG_DATA_HOME/motenet or
                         ~/.local/share/motenet unless told.
  --listen [HOST:]PORT   Where it listens; 0.0.0.0:8080 unless told. IPv6 addresses stand in brackets.
  --url URL              How devices reach it, such as https://coordinator.example. Unless told, an address of this
                         machine with the port.
  --tls-cert FILE        Certificate (and its chain) in PEM, with --tls-key FILE: it speaks https.
  --relay-port PORT      Port of the relay's own TLS listener, where there is no --tls-cert; 8443 unless told.
  --stun-port PORT       UDP port of STUN, 3478 unless told; off for none.
  --policy [TAILNET=]FILE
                         Takes the policy of a tailnet (default, unless told) from a file, at the start and at SIGHUP.
                         What is refused is said, and the last good policy stays in force.
  --json                 Events as JSON lines on standard output.
  --log LEVEL            error, warn, info (default) or debug. --verbose (-v) is --log debug.
  --debug                Stack traces of errors.

Port 0 lets the system choose. Standard output has one line that begins with "ready" once everything listens. Ctrl-C
ends it cleanly. Devices other than motes want https, or a private address as the URL: see \`warning\` lines.

  motenet serve
  motenet serve --listen 0.0.0.0:443 --url https://net.example --tls-cert full.pem --tls-key key.pem

Exit codes: 0 ended by a signal, 1 failed while running, 2 wrong flag, file, address or port.`;

const GENKEY = `Usage: motenet genkey

Prints a new private key in base64, as \`wg genkey\` does. Keep it secret:

  umask 077; motenet genkey > private.key`;

const PUBKEY = `Usage: motenet pubkey < private.key

Reads a private key in base64 from standard input and prints its public key, as \`wg pubkey\` does.`;

const GENPSK = `Usage: motenet genpsk

Prints a new preshared key in base64, as \`wg genpsk\` does. Both peers need the same one.`;

const TEXTS: Readonly<Record<string, string>> = /* @__PURE__ */ Object.freeze({
  wg: WG,
  up: UP,
  status: STATUS,
  netcheck: NETCHECK,
  doctor: DOCTOR,
  nc: NC,
  ping: PING,
  whois: WHOIS,
  logout: LOGOUT,
  serve: SERVE,
  genkey: GENKEY,
  pubkey: PUBKEY,
  genpsk: GENPSK,
  help: 'Usage: motenet help COMMAND',
});

/** The help of one command, or of `more` below it; undefined when there is no such command. */
export function commandHelp(command: string, more?: string): string | undefined {
  if (isAdminCommand(command)) return adminHelp(command, more);
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
