/** Files that the commands about policies read: the policy itself, and a list of devices to judge it on. */
import { closeSync, openSync, readSync } from 'node:fs';
import { parseAddress, parsePrefix } from '../../lib/base/address.ts';
import type { PolicyDevice } from '../../lib/policy/directory.ts';
import { quote } from './args.ts';
import { codeOf, messageOf, UsageError } from './errors.ts';

/** Largest policy in bytes, as a coordinator takes it: 1 MiB. */
export const POLICY_LIMIT_BYTES = 1_048_576;
/** Largest list of devices in bytes: that of some hundred thousand. */
const DEVICES_LIMIT_BYTES = 134_217_728;
const PIECE_BYTES = 65_536;

/** A file as it was read. */
export interface PolicyFile {
  /** How it is called in what is printed. */
  readonly name: string;
  readonly text: string;
}

/** Reads standard input to its end; rejects with {@link UsageError} beyond a limit in bytes. */
export type ReadInput = (limitBytes: number) => Promise<Uint8Array>;

/** Reads a policy; `-` is standard input. Throws {@link UsageError} for what cannot be read, is too large or no text. */
export async function readPolicyFile(path: string, readInput: ReadInput): Promise<PolicyFile> {
  const name = path === '-' ? '<stdin>' : path;
  const bytes = path === '-' ? await readInput(POLICY_LIMIT_BYTES) : readWhole('', path, POLICY_LIMIT_BYTES, '1 MiB');
  return { name, text: decode(bytes, name) };
}

/** Reads what `motenet devices list --json` has printed: the devices that take part, which are those that are approved. */
export function readDevicesFile(path: string): readonly PolicyDevice[] {
  const text = decode(readWhole('--devices: ', path, DEVICES_LIMIT_BYTES, '128 MiB'), path);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw unfit(path, 'JSON', { cause });
  }
  if (!Array.isArray(value)) throw unfit(path, 'list');
  const ids = new Set<number>();
  const addresses = new Set<string>();
  const devices: PolicyDevice[] = [];
  value.forEach((item: unknown, i) => {
    const device = deviceOf(item, path, i);
    if (device === undefined) return;
    const isTwice = ids.has(device.id) || device.addresses.some(address => addresses.has(address));
    if (isTwice) throw unfit(path, `id and addresses of its own for device ${i + 1}`);
    ids.add(device.id);
    for (const address of device.addresses) addresses.add(address);
    devices.push(device);
  });
  return devices;
}

/** Undefined for a device that does not take part. */
function deviceOf(item: unknown, path: string, index: number): PolicyDevice | undefined {
  const { id, addresses, user, tags, state, routes = [] } = (item ?? {}) as Record<string, unknown>;
  const isDevice =
    Number.isSafeInteger(id) &&
    isTexts(addresses) &&
    typeof user === 'string' &&
    isTexts(tags) &&
    Array.isArray(routes);
  if (!isDevice || typeof state !== 'string') throw unfit(path, `device at place ${index + 1}`);
  if (state !== 'approved') return undefined;
  if (addresses.length === 0 || addresses.some(text => parseAddress(text) === undefined))
    throw unfit(path, `addresses of device ${index + 1}`);
  return { id: id as number, addresses, user, tags, routes: routes.flatMap(routeInForce) };
}

function isTexts(value: unknown): value is readonly string[] {
  return Array.isArray(value) && value.every(text => typeof text === 'string');
}

/** A route counts when it is both offered and approved. */
function routeInForce(value: unknown): string[] {
  const { route, isApproved, isAdvertised } = (value ?? {}) as Record<string, unknown>;
  const isInForce = isApproved === true && isAdvertised === true;
  return isInForce && typeof route === 'string' && parsePrefix(route) !== undefined ? [route] : [];
}

function unfit(path: string, what: string, options?: { cause: unknown }): UsageError {
  const message = `--devices expected what \`motenet devices list --json\` prints, got no ${what} in ${quote(path)}`;
  return new UsageError(message, options);
}

/** A path is read, whatever it is (a pipe, say), as far as the limit. */
function readWhole(where: string, path: string, limitBytes: number, limitText: string): Uint8Array {
  const pieces: Buffer[] = [];
  let bytes = 0;
  let file: number | undefined;
  try {
    file = openSync(path, 'r');
    for (;;) {
      const piece = Buffer.allocUnsafe(PIECE_BYTES);
      const length = readSync(file, piece);
      if (length === 0) return Buffer.concat(pieces);
      pieces.push(piece.subarray(0, length));
      bytes += length;
      if (bytes > limitBytes) throw new UsageError(`${where}${quote(path)} has more than ${limitText}`);
    }
  } catch (cause) {
    if (cause instanceof UsageError) throw cause;
    throw new UsageError(`${where}${describeRead(cause, path)}`, { cause });
  } finally {
    if (file !== undefined) closeSync(file);
  }
}

function describeRead(cause: unknown, path: string): string {
  const code = codeOf(cause);
  if (code === 'ENOENT') return `there is no file ${quote(path)}`;
  if (code === 'EACCES') return `no permission to read ${quote(path)}`;
  if (code === 'EISDIR') return `${quote(path)} is a folder`;
  return `cannot read ${quote(path)}: ${messageOf(cause)}`;
}

/** Throws {@link UsageError} for what is not UTF-8; a byte order mark is left out. */
function decode(bytes: Uint8Array, name: string): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (cause) {
    throw new UsageError(`${quote(name)} is not text in UTF-8`, { cause });
  }
}
