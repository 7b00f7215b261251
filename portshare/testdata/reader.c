/* Reads a port record, written from the package comment of portshare alone.
   Usage: reader DIRECTORY APP  -> one line of fields; exit 4 when there is none. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SIZE = 224 };

static int open_in(const char *dir, const char *app, const char *what, int flags)
{
	char path[4096];
	snprintf(path, sizeof path, "%s/%s.%s", dir, app, what);
	return open(path, flags | O_NOFOLLOW | O_CLOEXEC);
}

/* Step 2: is anybody behind the bytes? */
static int alive(const char *dir, const char *app)
{
	int gate = open_in(dir, app, "gate.lock", O_RDWR), life = open_in(dir, app, "life", O_RDWR);
	if (gate < 0 || life < 0 || flock(gate, LOCK_EX) != 0)
		return 0;
	int vacant = flock(life, LOCK_EX | LOCK_NB) == 0;
	if (!vacant && errno != EWOULDBLOCK)
		perror("life"), exit(1);
	close(life);
	close(gate);
	return !vacant;
}

static uint32_t u32(const unsigned char *p)
{
	return p[0] | p[1] << 8 | p[2] << 16 | (uint32_t)p[3] << 24;
}

static uint64_t u64(const unsigned char *p) { return u32(p) | (uint64_t)u32(p + 4) << 32; }

static uint32_t crc32(uint32_t crc, const unsigned char *p, int n)
{
	crc = ~crc;
	while (n-- > 0) {
		crc ^= *p++;
		for (int bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? 0xEDB88320u : 0);
	}
	return ~crc;
}

/* Steps 3 and 4: a copy that no write has touched. */
static void copy_record(const unsigned char *memory, unsigned char *copy)
{
	const uint32_t *sequence = (const uint32_t *)(memory + 16);
	for (;;) {
		uint32_t before = __atomic_load_n(sequence, __ATOMIC_ACQUIRE);
		if (before % 2 != 0)
			continue;
		for (int i = 0; i < SIZE; i++)
			copy[i] = __atomic_load_n(memory + i, __ATOMIC_RELAXED);
		__atomic_thread_fence(__ATOMIC_ACQUIRE);
		if (__atomic_load_n(sequence, __ATOMIC_RELAXED) == before)
			return;
	}
}

/* Step 6: field 22 of /proc/PID/stat, counted from behind the name. */
static int holder_lives(uint32_t pid, uint64_t start)
{
	char path[64], text[4096];
	snprintf(path, sizeof path, "/proc/%u/stat", pid);
	FILE *f = fopen(path, "r");
	if (!f)
		return 0;
	size_t n = fread(text, 1, sizeof text - 1, f);
	fclose(f);
	text[n] = 0;
	char *field = strrchr(text, ')');
	for (int i = 2; field && i < 22; i++)
		field = strchr(field + 1, ' ');
	return field && strtoull(field + 1, NULL, 10) == start;
}

static void hex(const char *name, const unsigned char *p)
{
	printf(" %s=", name);
	for (int i = 0; i < 32; i++)
		printf("%02x", p[i]);
}

int main(int argc, char **argv)
{
	if (argc != 3)
		return 2;
	struct stat st;
	if (lstat(argv[1], &st) != 0 || !S_ISDIR(st.st_mode) || st.st_uid != geteuid() || (st.st_mode & 0777) != 0700)
		return fprintf(stderr, "%s is not this user's\n", argv[1]), 1;
	if (!alive(argv[1], argv[2]))
		return fprintf(stderr, "no record\n"), 4;
	int fd = open_in(argv[1], argv[2], "record", O_RDONLY);
	const unsigned char *memory = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0);
	if (fd < 0 || memory == MAP_FAILED)
		return perror("record"), 1;
	unsigned char r[SIZE];
	copy_record(memory, r);
	if (memcmp(r, "BERTHREC", 8) != 0 || u32(r + 8) != 1 || u32(r + 12) != SIZE)
		return fprintf(stderr, "another layout\n"), 1;
	if (crc32(crc32(0, r, 16), r + 20, 200) != u32(r + 220))
		return fprintf(stderr, "wrong checksum\n"), 1;
	struct stat ns = {0};
	stat("/proc/self/ns/pid", &ns);
	printf("state=%u generation=%llu port=%u pid=%u start=%llu endpoint=%.104s", u32(r + 20),
	       (unsigned long long)u64(r + 24), u32(r + 32), u32(r + 36), (unsigned long long)u64(r + 40), (char *)r + 48);
	hex("key", r + 152);
	hex("cert", r + 184);
	printf(" namespace=%d lives=%d\n", u32(r + 36) != 0 && u32(r + 216) == (uint32_t)ns.st_ino,
	       holder_lives(u32(r + 36), u64(r + 40)));
	return 0;
}
