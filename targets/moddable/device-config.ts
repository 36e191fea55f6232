/**
 * What a device is told when it is provisioned: its Wi-Fi and how it joins, as texts in one domain of Preference (NVS on
 * an ESP32). They are written per device, beside the image and never into it.
 */
import type { PreferenceIo } from './io.ts';

/** The domain, and the keys in it. `examples/esp32-sensor/provision.ts` writes them. */
export const CONFIG_DOMAIN = 'device';
export const CONFIG_KEYS = Object.freeze(['ssid', 'password', 'control', 'auth-key', 'name', 'pin'] as const);

/** What one device was told. */
export interface DeviceConfig {
  /** Wi-Fi; without `password` an open one. */
  readonly ssid: string;
  readonly password?: string;
  /** URL of the coordinator. */
  readonly control: string;
  /** Needed once: `forgetAuthKey` removes it when the device has joined. */
  readonly authKey?: string;
  readonly name?: string;
  /** Public key of the coordinator's TLS certificate, `sha256//…`; for `https:`. */
  readonly pin?: string;
}

/** Reads it. Throws Error that says which key is missing. */
export function readDeviceConfig(preference: PreferenceIo): DeviceConfig {
  const text = (key: (typeof CONFIG_KEYS)[number]) => {
    const value = preference.get(CONFIG_DOMAIN, key);
    return typeof value === 'string' && value !== '' ? value : undefined;
  };
  const needed = (key: 'ssid' | 'control') => {
    const value = text(key);
    if (value === undefined)
      throw new Error(`this device was not provisioned: "${key}" is missing in "${CONFIG_DOMAIN}"`);
    return value;
  };
  const rest = { password: text('password'), authKey: text('auth-key'), name: text('name'), pin: text('pin') };
  return {
    ssid: needed('ssid'),
    control: needed('control'),
    ...(Object.fromEntries(Object.entries(rest).filter(([, value]) => value !== undefined)) as Omit<
      DeviceConfig,
      'ssid' | 'control'
    >),
  };
}

/** Removes the auth key: the device has joined, and its node key is in the store. */
export function forgetAuthKey(preference: PreferenceIo): void {
  preference.delete(CONFIG_DOMAIN, 'auth-key');
}

/** The options of `up` that follow from it. */
export function configOptions(config: DeviceConfig): {
  control: string;
  authKey?: string;
  name?: string;
  pins?: Readonly<Record<string, string>>;
} {
  const { control, authKey, name, pin } = config;
  const host = /^https:\/\/(\[[^\]]*\]|[^/:]+)/.exec(control)?.[1];
  return {
    control,
    ...(authKey === undefined ? {} : { authKey }),
    ...(name === undefined ? {} : { name }),
    ...(pin === undefined || host === undefined ? {} : { pins: { [host]: pin } }),
  };
}
