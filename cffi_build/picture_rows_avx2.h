/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The conversions whose bytes have to change places, which gcc's vectoriser is slow at. Each does the greater
 * part of a row and returns how many units it did, an even number.
 */

static inline __m256i two_loads(const uint8_t *low, const uint8_t *high)
{
	return _mm256_inserti128_si256(_mm256_castsi128_si256(_mm_loadu_si128((const __m128i *)low)),
				       _mm_loadu_si128((const __m128i *)high), 1);
}

/* The same bytes of both halves of a vector, of which -1 is a zero. */
#define BYTES(...) _mm256_broadcastsi128_si256(_mm_setr_epi8(__VA_ARGS__))

static size_t avx2_rgb888_part(uint32_t *restrict d, const uint8_t *restrict s, size_t units)
{
	const __m256i pixels = BYTES(0, 1, 2, -1, 3, 4, 5, -1, 6, 7, 8, -1, 9, 10, 11, -1);
	size_t i = 0;

	/* The loads reach over the next four bytes. */
	for (; i + 10 <= units; i += 8) {
		__m256i v = two_loads(s + 3 * i, s + 3 * i + 12);

		v = _mm256_or_si256(_mm256_shuffle_epi8(v, pixels), _mm256_set1_epi32((int)OPAQUE));
		_mm256_storeu_si256((__m256i *)(d + i), v);
	}
	return i;
}

/* Sixteen pixels' channels as signed words, to be clamped. */
struct channels {
	__m256i r, g, b;
};

/* The weights of two neighbouring bytes. */
#define WEIGHTS(even, odd) _mm256_set1_epi16((int16_t)((odd) * 256 + ((even) & 255)))

/*
 * See yuv_r(). Weights are signed bytes: 409 v is 512 v - 103 v. What the offsets of Y, U and V come to is one
 * constant before the shift and one after it.
 */
static inline __m256i weighed(__m256i sum, int before, __m256i whole, int after)
{
	sum = _mm256_srai_epi16(_mm256_add_epi16(sum, _mm256_set1_epi16((int16_t)before)), 8);
	return _mm256_add_epi16(_mm256_add_epi16(sum, whole), _mm256_set1_epi16((int16_t)after));
}

static inline struct channels yuv16(const uint8_t *s)
{
	const __m256i v = _mm256_loadu_si256((const __m256i *)s);
	const __m256i yu = _mm256_shuffle_epi8(v, BYTES(0, 1, 2, 1, 4, 5, 6, 5, 8, 9, 10, 9, 12, 13, 14, 13));
	const __m256i yv = _mm256_shuffle_epi8(v, BYTES(0, 3, 2, 3, 4, 7, 6, 7, 8, 11, 10, 11, 12, 15, 14, 15));
	const __m256i g = _mm256_add_epi16(_mm256_maddubs_epi16(yv, WEIGHTS(42, 48)),
					   _mm256_maddubs_epi16(yu, WEIGHTS(0, -100)));

	return (struct channels){
		weighed(_mm256_maddubs_epi16(yv, WEIGHTS(42, -103)), 12640,
			_mm256_maddubs_epi16(yv, WEIGHTS(1, 2)), -272),
		weighed(g, 6112, _mm256_maddubs_epi16(yv, WEIGHTS(1, -1)), 112),
		weighed(_mm256_maddubs_epi16(yu, WEIGHTS(42, 4)), -1056,
			_mm256_maddubs_epi16(yu, WEIGHTS(1, 2)), -272),
	};
}

static inline void store16(uint32_t *d, __m256i gb, __m256i ar)
{
	__m256i low = _mm256_unpacklo_epi16(gb, ar), high = _mm256_unpackhi_epi16(gb, ar);

	_mm256_storeu_si256((__m256i *)d, _mm256_permute2x128_si256(low, high, 0x20));
	_mm256_storeu_si256((__m256i *)(d + 8), _mm256_permute2x128_si256(low, high, 0x31));
}

static size_t avx2_yuyv_part(uint32_t *restrict d, const uint8_t *restrict s, size_t units)
{
	const __m256i opaque = _mm256_set1_epi8(-1);
	size_t i = 0;

	for (; i + 32 <= units; i += 32) {
		struct channels one = yuv16(s + 2 * i), two = yuv16(s + 2 * i + 32);
		/* The clamping; halves of one and two alternate until they are unpacked. */
		__m256i r = _mm256_packus_epi16(one.r, two.r);
		__m256i g = _mm256_packus_epi16(one.g, two.g);
		__m256i b = _mm256_packus_epi16(one.b, two.b);

		store16(d + i, _mm256_unpacklo_epi8(b, g), _mm256_unpacklo_epi8(r, opaque));
		store16(d + i + 16, _mm256_unpackhi_epi8(b, g), _mm256_unpackhi_epi8(r, opaque));
	}
	return i;
}
