import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { DriverVm } from '../../host/driver-vm/driver-vm.js';
import { BUILT, buildForTests, casesOf, runCase } from '../driver-vm/sanitized.js';
import { PageList, Vms } from './support.js';

buildForTests();
const cases = casesOf(BUILT.testVm);

describe.each([
  ['cold', false],
  ['restored', true],
])('operations in a driver VM, %s', (_name, snapshot) => {
  const vms = new Vms();
  let vm: DriverVm;
  let pages: PageList;
  beforeAll(async () => {
    // The first start takes the snapshot; the second one is restored from it.
    if (snapshot) await (await vms.start()).close();
    vm = await vms.start({ snapshot });
    pages = new PageList(vm);
  });
  afterAll(async () => {
    pages.remove();
    await vms.closeAll();
  });

  it('comes from where it should', () => {
    expect(vm.restored).toBe(snapshot);
  });

  it.each(cases)('$name', async ({ name }) => {
    const descriptors = [vm.memory.descriptor, vm.doorbell, pages.descriptor];
    await runCase(BUILT.testVm, [name, `${vm.channelsAddress}`], descriptors);
  });
});
