/** Opens one stream with TLS and says what became of it: `PORT NAME [AUTHORITIES-FILE]`. Run by `streams.test.ts`. */
import { readFileSync } from 'node:fs';
import { argv, exit } from 'node:process';
import { host } from '../../targets/node/host.ts';

const [port, serverName, file] = argv.slice(2);
const authorities = file === undefined ? {} : { authorities: readFileSync(file, 'utf8') };
const say = (text: string) => {
  console.log(text);
  exit();
};
host.openStream(
  { host: '127.0.0.1', port: Number(port), tls: { serverName: serverName!, ...authorities } },
  {
    opened: () => say('opened'),
    bytes: () => undefined,
    writable: () => undefined,
    ended: () => undefined,
    failed: error => say(error.code),
  },
);
