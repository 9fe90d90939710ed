#!/bin/sh
# Runs engine/tests/ on an emulated processor with AVX-512, for machines that have none: bochs, as Debian packages it,
# boots Debian's kernel with the tests, linked statically, as its only programs. Takes about a quarter of an hour; not
# a part of CI.
#
#   engine/emulate.sh              all tests; exits 0 if they pass
#   engine/emulate.sh products     some of them
#   MODEL=tigerlake engine/emulate.sh    another of `bochs --help cpu`
#
# Needs: apt-get install bochs-term bochsbios vgabios isolinux syslinux-common xorriso cpio
# A kernel is downloaded with apt-get, but not installed; KERNEL=/boot/vmlinuz names another one.
set -eu
cd "$(dirname "$0")/.."
MODEL=${MODEL:-corei7_skylake_x}
WORK=build/emulate
mkdir -p $WORK/kernel $WORK/root/tests $WORK/root/proc $WORK/iso/isolinux

# The CPU of this machine does not matter: everything is compiled as if it could run here.
cmake -S . -B $WORK/tests -G Ninja -DUNROLLED_MODULE=OFF -DUNROLLED_TESTS=ON -DCMAKE_BUILD_TYPE=Release \
  -DUNROLLED_CPU_HAS_AVX2=1 -DUNROLLED_CPU_HAS_AVX512=1 -DCMAKE_EXE_LINKER_FLAGS=-static --log-level=WARNING
cmake --build $WORK/tests --parallel
rm -f $WORK/root/tests/*
for test in ${*:-$(cd engine/tests && ls *.cpp)}; do
  strip -o "$WORK/root/tests/${test%.cpp}" "$WORK/tests/${test%.cpp}"
done

cat > $WORK/init.c <<'END'
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

int main(void) {
  int failed = 0, count = 0;
  struct dirent **entries;
  mount("proc", "/proc", "proc", 0, 0);
  setenv("UNROLLED_ENGINE_ISA", "avx512", 1);
  int n = scandir("/tests", &entries, 0, alphasort);
  for (int i = 0; i < n; i++) {
    if (entries[i]->d_name[0] == '.') continue;
    char path[300];
    int status = -1;
    time_t begun = time(0);
    snprintf(path, sizeof path, "/tests/%s", entries[i]->d_name);
    printf("== %s\n", entries[i]->d_name);
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
      execl(path, path, (char*)0);
      _exit(127);
    }
    waitpid(child, &status, 0);
    printf("== %s: %s, status %d, %ld s\n", entries[i]->d_name, status ? "FAILED" : "passed", status, (long)(time(0) - begun));
    fflush(stdout);
    failed += status != 0;
    count++;
  }
  printf("== %d passed, %d failed\n", count - failed, failed);
  fflush(stdout);
  tcdrain(1);
  sleep(1);
  reboot(RB_POWER_OFF);
}
END
cc -O1 -static $WORK/init.c -o $WORK/root/init
(cd $WORK/root && find . | cpio -o -H newc --quiet | gzip -1 > ../iso/initrd.gz)

if [ -z "${KERNEL:-}" ]; then
  if [ -z "$(find $WORK/kernel -name 'vmlinuz-*')" ]; then
    image=$(apt-cache depends linux-image-amd64 | sed -n 's/.*Depends: //p' | head -1)
    (cd $WORK/kernel && apt-get download "$image" && dpkg -x linux-image-*.deb . && rm -- *.deb && rm -rf lib usr)
  fi
  KERNEL=$(find $WORK/kernel -name 'vmlinuz-*')
fi
cp "$KERNEL" $WORK/iso/vmlinuz
cp /usr/lib/ISOLINUX/isolinux.bin /usr/lib/syslinux/modules/bios/ldlinux.c32 $WORK/iso/isolinux/
# Bochs 2.7 misreports the size of the compacted XSAVE area, for which Linux would switch all of AVX off.
cat > $WORK/iso/isolinux/isolinux.cfg <<'END'
default tests
prompt 0
label tests
  kernel /vmlinuz
  initrd /initrd.gz
  append console=ttyS0 quiet mitigations=off nokaslr clearcpuid=321,323 noxsaves panic=1
END
xorriso -as mkisofs -quiet -o $WORK/boot.iso -b isolinux/isolinux.bin -c isolinux/boot.cat -no-emul-boot \
  -boot-load-size 4 -boot-info-table $WORK/iso 2>/dev/null

cat > $WORK/bochsrc <<END
display_library: term
cpu: model=$MODEL, count=1, ips=100000000, reset_on_triple_fault=0, ignore_bad_msrs=1
megs: 1024
romimage: file=/usr/share/bochs/BIOS-bochs-latest
vgaromimage: file=/usr/share/bochs/VGABIOS-lgpl-latest
ata0-master: type=cdrom, path=$WORK/boot.iso, status=inserted
boot: cdrom
com1: enabled=1, mode=file, dev=$WORK/serial.txt
log: $WORK/bochs.log
panic: action=fatal
error: action=ignore
info: action=ignore
clock: sync=none
speaker: enabled=1, mode=system
END
printf 'continue\nquit\n' > $WORK/commands
rm -f $WORK/serial.txt
echo "Booting; the output of the tests goes to $WORK/serial.txt too."
# Its text display wants a terminal, and somebody who reads what it draws there; the debugger that Debian builds in
# wants to be told to go on.
TERM=xterm script -qefc "bochs -f $WORK/bochsrc -rc $WORK/commands" /dev/null < /dev/null > $WORK/screen.txt 2>&1 &
bochs=$!
sleep 3
cat "$(sed -n 's/^Bochs connected to screen "\(.*\)".*/\1/p' $WORK/screen.txt)" > /dev/null &
wait $bochs || true
tr -d '\r' < $WORK/serial.txt
grep -q '^== [1-9][0-9]* passed, 0 failed' $WORK/serial.txt
