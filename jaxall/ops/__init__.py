"""Operations whose plain XLA lowering is slow somewhere; each is exact and tested against it."""
