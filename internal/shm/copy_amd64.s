//go:build !race

#include "textflag.h"

// Four lines at a time. FETCH4 is 16 lines ahead of what is read.
#define FETCH4 \
	PREFETCHT0 1024(SI); \
	PREFETCHT0 1088(SI); \
	PREFETCHT0 1152(SI); \
	PREFETCHT0 1216(SI)

#define LOAD4 \
	VMOVDQU64 (SI), Z0; \
	VMOVDQU64 64(SI), Z1; \
	VMOVDQU64 128(SI), Z2; \
	VMOVDQU64 192(SI), Z3

#define STORE4 \
	VMOVDQU64 Z0, (DI); \
	VMOVDQU64 Z1, 64(DI); \
	VMOVDQU64 Z2, 128(DI); \
	VMOVDQU64 Z3, 192(DI)

#define STREAM4 \
	VMOVNTDQ Z0, (DI); \
	VMOVNTDQ Z1, 64(DI); \
	VMOVNTDQ Z2, 128(DI); \
	VMOVNTDQ Z3, 192(DI)

// NEXT4 goes on to the next four; its flags tell of the lines in CX that are left.
#define NEXT4 \
	ADDQ $256, SI; \
	ADDQ $256, DI; \
	SUBQ $4, CX

// func copyLines(dst, src *byte, lines int)
//
// Fetches 16 lines ahead, and none beyond the end: another core may be writing there.
TEXT ·copyLines(SB), NOSPLIT, $0-24
	MOVQ dst+0(FP), DI
	MOVQ src+8(FP), SI
	MOVQ lines+16(FP), CX
	SUBQ $20, CX
	JLT  last

ahead:
	FETCH4
	LOAD4
	STORE4
	NEXT4
	JGE  ahead

last:
	ADDQ $16, CX
	JLT  rest

four:
	LOAD4
	STORE4
	NEXT4
	JGE  four

rest:
	ADDQ $4, CX
	JEQ  done

one:
	VMOVDQU64 (SI), Z0
	VMOVDQU64 Z0, (DI)
	ADDQ $64, SI
	ADDQ $64, DI
	DECQ CX
	JNE  one

done:
	VZEROUPPER
	RET

// func drawLines(dst, src *byte, lines int)
//
// Is copyLines that claims the lines of dst 4 ahead: this core has them to itself, but
// further away than the stores can wait for.
TEXT ·drawLines(SB), NOSPLIT, $0-24
	MOVQ dst+0(FP), DI
	MOVQ src+8(FP), SI
	MOVQ lines+16(FP), CX
	SUBQ $20, CX
	JLT  dlast

dahead:
	FETCH4
	BYTE $0x0F; BYTE $0x0D; BYTE $0x8F; LONG $256 // PREFETCHW 256(DI)
	BYTE $0x0F; BYTE $0x0D; BYTE $0x8F; LONG $320 // PREFETCHW 320(DI)
	BYTE $0x0F; BYTE $0x0D; BYTE $0x8F; LONG $384 // PREFETCHW 384(DI)
	BYTE $0x0F; BYTE $0x0D; BYTE $0x8F; LONG $448 // PREFETCHW 448(DI)
	LOAD4
	STORE4
	NEXT4
	JGE  dahead

dlast:
	ADDQ $20, CX
	MOVQ DI, dst+0(FP)
	MOVQ SI, src+8(FP)
	MOVQ CX, lines+16(FP)
	JMP  ·copyLines(SB)

// func streamLines(dst, src *byte, lines int)
TEXT ·streamLines(SB), NOSPLIT, $0-24
	MOVQ dst+0(FP), DI
	MOVQ src+8(FP), SI
	MOVQ lines+16(FP), CX
	SUBQ $4, CX
	JLT  srest

sfour:
	LOAD4
	STREAM4
	NEXT4
	JGE  sfour

srest:
	ADDQ $4, CX
	JEQ  sdone

sone:
	VMOVDQU64 (SI), Z0
	VMOVNTDQ Z0, (DI)
	ADDQ $64, SI
	ADDQ $64, DI
	DECQ CX
	JNE  sone

sdone:
	SFENCE
	VZEROUPPER
	RET

// func claimLines(p *byte, lines int)
TEXT ·claimLines(SB), NOSPLIT, $0-16
	MOVQ p+0(FP), AX
	MOVQ lines+8(FP), CX

next:
	BYTE $0x0F; BYTE $0x0D; BYTE $0x08 // PREFETCHW (AX)
	ADDQ $64, AX
	DECQ CX
	JNE  next
	RET

// func fetchLines(p *byte, lines int)
TEXT ·fetchLines(SB), NOSPLIT, $0-16
	MOVQ p+0(FP), AX
	MOVQ lines+8(FP), CX

fnext:
	PREFETCHT0 (AX)
	ADDQ $64, AX
	DECQ CX
	JNE  fnext
	RET
