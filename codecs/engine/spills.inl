// The list of what rows have beyond their bytes, for sets without instructions that compress vectors; bytes.inl says
// what it does.

inline Spill *append(const int16_t *excess, int64_t at, Spill *to) {
    int8_t bytes[kSome];
    for (int64_t i = 0; i < kSome; i++) bytes[i] = static_cast<int8_t>(excess[i]);
    for (int64_t i = 0; i < kSome; i += 4) {
        int32_t quad;
        std::memcpy(&quad, bytes + i, 4);
        to->at = static_cast<int32_t>((at + i) / 4);
        std::memcpy(to->excess, &quad, 4);
        to += quad != 0;
    }
    return to;
}
