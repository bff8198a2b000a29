"""Operations: labelled array in, labelled array out."""
