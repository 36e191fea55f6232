/**
 * Writes what one device has to know into a file for its storage (NVS), never into the image:
 *
 *     MOTENET_AUTHKEY=… WIFI_PASSWORD=… npx tsx examples/esp32-sensor/provision.ts \
 *       --ssid Home --control https://net.example.com --name sensor-1 --pin sha256//… device.csv
 *
 * The file is readable by its owner only. ESP-IDF's generator turns it into the bytes of the partition, which are flashed
 * beside the image; then delete both. Secrets come from the environment, because other users can read command lines.
 */
import { argv, env, exit } from 'node:process';
import { parseArgs } from 'node:util';
import { rmSync, writeFileSync } from 'node:fs';
import { parseControlUrl } from '../../lib/mote/tailnet-options.ts';
import { parsePin } from '../../targets/moddable/certificate.ts';
import { CONFIG_DOMAIN, CONFIG_KEYS } from '../../targets/moddable/device-config.ts';

/** Longest text that is written; NVS takes 4,000 bytes. */
const MAX_VALUE_CHARACTERS = 1000;

/** The rows of `nvs_partition_gen.py`. Throws RangeError for a value that the device would not understand. */
export function provisioningCsv(values: Readonly<Partial<Record<(typeof CONFIG_KEYS)[number], string>>>): string {
  const { ssid, control, pin } = values;
  if (!ssid) throw new RangeError('--ssid is missing');
  if (!control) throw new RangeError('--control is missing');
  const { isSecure } = parseControlUrl(control);
  if (pin !== undefined) parsePin(pin, control);
  else if (isSecure)
    throw new RangeError('--pin is missing: a board cannot judge the certificate of an https: coordinator');
  const rows = CONFIG_KEYS.flatMap(key => {
    const value = values[key];
    if (value === undefined || value === '') return [];
    if (value.length > MAX_VALUE_CHARACTERS || /[^\x20-\x7e\xa1-\uffff]/.test(value))
      throw new RangeError(`"${key}" expected at most ${MAX_VALUE_CHARACTERS} characters of one line`);
    return [`${key},data,string,"${value.replaceAll('"', '""')}"`];
  });
  return ['key,type,encoding,value', `${CONFIG_DOMAIN},namespace,,`, ...rows, ''].join('\n');
}

function main(): void {
  const text = { type: 'string' } as const;
  const { values, positionals } = parseArgs({
    options: { ssid: text, control: text, name: text, pin: text },
    allowPositionals: true,
  });
  const [file] = positionals;
  if (file === undefined || positionals.length !== 1) throw new RangeError('the name of the file to write is missing');
  const secrets = { password: env['WIFI_PASSWORD'], 'auth-key': env['MOTENET_AUTHKEY'] };
  const all = Object.entries({ ...values, ...secrets }).filter(([, value]) => value !== undefined);
  const csv = provisioningCsv(Object.fromEntries(all));
  rmSync(file, { force: true });
  writeFileSync(file, csv, { mode: 0o600, flag: 'wx' });
  console.log(`${file} is written. With ESP-IDF at hand:

python $IDF_PATH/components/nvs_flash/nvs_partition_generator/nvs_partition_gen.py generate ${file} device.bin 0x6000
esptool.py write_flash 0x9000 device.bin
rm ${file} device.bin`);
}

if (argv[1]?.endsWith('provision.ts')) {
  try {
    main();
  } catch (error) {
    console.error((error as Error).message);
    exit(2);
  }
}
