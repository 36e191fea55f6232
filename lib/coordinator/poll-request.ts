/**
 * `/machine/map`: a device polls its map, or says what has changed about it. The node key must be that of the machine
 * at the other end; an unknown device and somebody else's get the same answer.
 *
 * A stream is no update of endpoints and Hostinfo from version 68 on: clients say them in requests of their own.
 */
import { isAllZero } from '../base/bytes.ts';
import { SMALL_MAP_FLAG } from '../control/message.ts';
import { formatKey, parseKeyText } from '../crypto/key-text.ts';
import type { Core } from './core.ts';
import { commitOwnWords, type OwnWords, withOwnWords } from './device-updates.ts';
import { readCapability, readEndpoints, readHostinfo } from './hostinfo.ts';
import type { DeviceRecord } from './model.ts';
import type { Fields } from './request-json.ts';

const READ_ONLY_STREAMS_VERSION = 68;

/** Handles a map request whose body has been read. `version`: what the connection announced. */
export function pollMap(core: Core, request: number, machineKey: Uint8Array, version: number, fields: Fields): void {
  const key = parseKeyText('nodekey', fields.text('NodeKey'));
  const device = key === undefined ? undefined : core.state.deviceOfNodeKey(formatKey('nodekey', key));
  if (device === undefined) return core.reply(request, 404, { error: 'node not found' });
  const isOfOther = device.machineKey !== formatKey('mkey', machineKey);
  if (isOfOther) return core.reply(request, 404, { error: 'node not found' }); // CHECK: coordinator-map-machine
  const capability = readCapability(fields, version);
  const isStream = fields.isTrue('Stream');
  const omitPeers = fields.isTrue('OmitPeers');
  const isUpdate = !isStream || capability < READ_ONLY_STREAMS_VERSION;
  const next = commitOwnWords(core, device, updated(core, device, capability, isUpdate, fields));
  if (!isStream && omitPeers) return core.reply(request, 200);
  core.stream(request, {
    device: next,
    capability,
    isZstd: fields.text('Compress') === 'zstd',
    isStream,
    omitPeers,
    keepAlive: fields.isTrue('KeepAlive'),
    isSmall: (fields.array('DebugFlags') ?? []).includes(SMALL_MAP_FLAG),
  });
}

function updated(
  core: Core,
  device: DeviceRecord,
  capability: number,
  isUpdate: boolean,
  fields: Fields,
): DeviceRecord {
  const tailnet = core.state.tailnets.get(device.tailnet)!;
  const disco = parseKeyText('discokey', fields.text('DiscoKey'));
  const endpoints = isUpdate ? fields.array('Endpoints') : undefined;
  const words: OwnWords = {
    ...(capability > 0 && { capability }),
    ...(disco !== undefined && !isAllZero(disco) && { discoKey: formatKey('discokey', disco) }),
    ...(endpoints !== undefined && { endpoints: readEndpoints(endpoints, core.limits) }),
  };
  const host = readHostinfo(isUpdate ? fields.object('Hostinfo') : undefined, core.limits);
  return withOwnWords(tailnet, device, host, words, () => core.mayAct(device.id));
}
