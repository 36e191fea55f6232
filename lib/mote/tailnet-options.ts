/**
 * The options of a mote that joins a tailnet, checked, and what its device is told of them.
 */
import { parseAddress, splitHostPort } from '../base/address.ts';
import { SecretKey } from '../crypto/keys.ts';
import type { CryptoSuite } from '../crypto/suite.ts';
import { controlName } from '../device/coordinator-link.ts';
import type { DeviceTailnetOptions } from '../device/device.ts';
import { type CoordinatorAddress, publicKeyOf } from '../device/tailnet.ts';
import { readTailnetSnapshot, type TailnetSnapshot } from '../device/tailnet-snapshot.ts';
import type { Host, Store } from '../ports.ts';
import type { CommonMoteOptions } from './common-options.ts';
import type { Identity } from './identity.ts';
import { loadSnapshot, takeSessions } from './snapshot-store.ts';

/** A mote that joins a tailnet: the coordinator says who it is and who its peers are. */
export interface TailnetMoteOptions extends CommonMoteOptions {
  /** URL of the coordinator, `https://…`, or `http://…` with a private address or localhost. */
  readonly control: string;
  /** Joins without a person. Without one, an `auth-url` event says where to log this device in. */
  readonly authKey?: string;
  /** What the device wants to be called; the host's name unless told. */
  readonly name?: string;
  /** The device is removed soon after it has gone. */
  readonly isEphemeral?: boolean;
  /**
   * Goes on where the last run ended, for a device that wakes, sends and sleeps: `close` stores the netmap, and the next
   * `up` returns without waiting for the coordinator, which is asked 10 s later, or at once after a day without it.
   * Until then only replies come in. Needs the same `store`. On hosts with memory that survives sleep, sessions go on too.
   */
  readonly resume?: boolean;
  /** Certificates (PEM) of authorities that are trusted beside the runtime's own, for coordinator and relays. */
  readonly authorities?: string;
  readonly privateKey?: undefined;
}

/** Options after checking. */
export interface TailnetSettings {
  /** The URL without a slash at its end. */
  readonly control: string;
  readonly coordinator: CoordinatorAddress;
  readonly authKey: string | undefined;
  readonly name: string | undefined;
  readonly isEphemeral: boolean;
  readonly resumes: boolean;
  readonly authorities: string | undefined;
}

const MAX_NAME_CHARACTERS = 63;
/** What a mote says it is, beside the version of the protocol. */
const VERSION = 'motenet 0.1.0';

/** Checks the options. Throws TypeError or RangeError; the text of an error holds no auth key. */
export function checkTailnetOptions(options: TailnetMoteOptions): TailnetSettings {
  const { control, authKey, name, isEphemeral = false, resume = false, authorities } = options;
  if (typeof control !== 'string') throw new TypeError(`"control" expected a URL, got ${typeof control}`);
  if (authKey !== undefined && (typeof authKey !== 'string' || !/^[\x21-\x7e]{1,512}$/.test(authKey)))
    throw new RangeError('"authKey" expected the text of a key, without blanks');
  if (name !== undefined && (typeof name !== 'string' || name === '' || name.length > MAX_NAME_CHARACTERS))
    throw new RangeError(`"name" expected 1 to ${MAX_NAME_CHARACTERS} characters`);
  if (authorities !== undefined && !String(authorities).includes('-----BEGIN CERTIFICATE-----'))
    throw new RangeError('"authorities" expected certificates in PEM');
  const coordinator = parseControlUrl(control);
  if (typeof resume !== 'boolean') throw new TypeError(`"resume" expected a boolean, got ${typeof resume}`);
  if (resume && options.store === undefined) throw new RangeError('"resume" expected a "store" to go on from');
  return {
    control: control.replace(/\/+$/, ''),
    coordinator,
    authKey,
    name,
    isEphemeral,
    resumes: resume,
    authorities,
  };
}

/** Reads a coordinator's URL. Throws RangeError. Without the runtime's URL class, which some have not. */
export function parseControlUrl(url: string): CoordinatorAddress {
  const match = /^(https?):\/\/([^/?#@\s]+)(\/[^?#\s]*)?$/.exec(url);
  if (match === null)
    throw new RangeError(
      `"control" expected a URL like https://host or http://10.0.0.1:8080, got '${url.slice(0, 80)}'`,
    );
  const [, scheme, authority = '', path = ''] = match;
  const isSecure = scheme === 'https';
  const defaultPort = isSecure ? 443 : 80;
  const bare = authority.startsWith('[') && authority.endsWith(']') ? authority.slice(1, -1) : authority;
  const hasNoPort = parseAddress(bare) !== undefined || !/:[0-9]+$/.test(authority);
  const split = hasNoPort ? { host: bare, port: defaultPort } : splitHostPort(authority);
  if (split === undefined || split.host === '')
    throw new RangeError(`"control" expected host or host:port behind ${scheme}://, got '${authority.slice(0, 80)}'`);
  return { host: split.host, port: split.port, isSecure, authority, path: path.replace(/\/+$/, '') };
}

/** What the device of such a mote is told. Throws NetError `ERR_STORE`. */
export function tailnetOptions(
  settings: TailnetSettings,
  identity: Identity,
  host: Host,
  suite: CryptoSuite,
  store: Store | undefined,
): DeviceTailnetOptions {
  const { coordinator, authKey, name, isEphemeral } = settings;
  const snapshot =
    settings.resumes && store !== undefined ? storedSnapshot(settings, identity, suite, store) : undefined;
  // They are those of one node key, as the snapshot is; and are removed either way.
  const sessions = settings.resumes && host.retained !== undefined ? takeSessions(host.retained) : undefined;
  return {
    coordinator,
    machineKey: identity.machineKey,
    discoKey: snapshot?.discoKey ?? SecretKey.generate(host.random),
    isEphemeral,
    hostinfo: {
      Hostname: name ?? host.self?.hostname ?? 'mote',
      OS: host.self?.os ?? host.name,
      IPNVersion: VERSION,
      // Servers tell runs of a client apart by it; it says nothing about the device.
      BackendLogID: 'motenet',
      Userspace: true,
    },
    ...(authKey === undefined ? {} : { authKey }),
    ...(identity.nextNodeKey === undefined ? {} : { nextNodeKey: identity.nextNodeKey }),
    ...(snapshot === undefined ? {} : { snapshot }),
    ...(sessions === undefined ? {} : { keepsSessions: true, sessions: snapshot === undefined ? [] : sessions }),
  };
}

/** What the last run has left; undefined when it was another member, or when it is not clear which node key is in force. */
function storedSnapshot(
  { coordinator }: TailnetSettings,
  { nodeKey, nextNodeKey }: Identity,
  suite: CryptoSuite,
  store: Store,
): TailnetSnapshot | undefined {
  const bytes = nextNodeKey === undefined ? loadSnapshot(store) : undefined;
  if (bytes === undefined) return undefined;
  return readTailnetSnapshot(bytes, controlName(coordinator), publicKeyOf(suite, nodeKey));
}
