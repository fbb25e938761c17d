"""A token-classification checkpoint of a few hundred numbers, for the tests of prompt compression."""

from __future__ import annotations

from pathlib import Path


def write_checkpoint(folder: Path) -> Path:
    """A BERT of 64 positions that keeps words with an "a"; it looks at nothing but the piece itself."""
    import torch
    from transformers import BertConfig, BertForTokenClassification, BertTokenizerFast

    folder.mkdir(exist_ok=True)
    letters = [chr(c) for c in range(33, 127)] + ["é", "中", "国"]
    vocab = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *(f"##{c}" for c in letters)]
    (folder / "vocab.txt").write_text("\n".join(vocab), encoding="utf-8")
    tokenizer = BertTokenizerFast(str(folder / "vocab.txt"), do_lower_case=False, model_max_length=64)
    tokenizer.save_pretrained(folder)
    config = BertConfig(
        vocab_size=len(vocab),
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=8,
        max_position_embeddings=64,
        num_labels=2,
    )
    torch.manual_seed(0)
    model = BertForTokenClassification(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        model.bert.embeddings.LayerNorm.weight.fill_(1.0)
        layer = model.bert.encoder.layer[0]
        layer.attention.output.LayerNorm.weight.fill_(1.0)
        layer.output.LayerNorm.weight.fill_(1.0)
        words = model.bert.embeddings.word_embeddings.weight
        words[:, 0] = 1.0
        for piece in ("a", "##a"):
            words[vocab.index(piece)] = torch.tensor([0.0, 1, 0, 0, 0, 0, 0, 0])
        model.classifier.weight[1, 1] = 4.0
    model.save_pretrained(folder)
    return folder
