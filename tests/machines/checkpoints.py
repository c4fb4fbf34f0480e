"""Folders as model makers publish them, made of the test model: safetensors, and a PEFT adapter."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

# In a process of its own: its libraries are large, and the suite shall not carry them along.
_EXPORT = """
import sys
import gguf, torch
from pathlib import Path
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

source, target = Path(sys.argv[1]), Path(sys.argv[2])
model = AutoModelForCausalLM.from_pretrained(
    source.parent, gguf_file=source.name, dtype=torch.float32
)
# The library believes that it is quantized still, and would refuse to write it down.
model.hf_quantizer, model.is_quantized = None, False
if hasattr(model.config, "quantization_config"):
    del model.config.quantization_config
model.to(torch.float16).save_pretrained(target, max_shard_size="100MB")

fields = gguf.GGUFReader(source).fields
words = fields["tokenizer.ggml.tokens"].contents()
kinds = fields["tokenizer.ggml.token_type"].contents()
pairs = [tuple(pair.split(" ")) for pair in fields["tokenizer.ggml.merges"].contents()]
made = Tokenizer(models.BPE(vocab={word: at for at, word in enumerate(words)}, merges=pairs))
made.pre_tokenizer = pre_tokenizers.Sequence(
    [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(False)]
)
made.decoder = decoders.ByteLevel()
special = [word for word, kind in zip(words, kinds) if kind == 3]
made.add_special_tokens(special)
PreTrainedTokenizerFast(
    tokenizer_object=made,
    bos_token=words[1], eos_token=words[2], unk_token=words[0], pad_token=words[2],
    chat_template=fields["tokenizer.chat_template"].contents(),
).save_pretrained(target)
"""

_TRAIN = """
import sys
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer

torch.manual_seed(0)
folder, target = sys.argv[1:3]
words = AutoTokenizer.from_pretrained(folder)
model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
parts = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
model = get_peft_model(model, LoraConfig(r=8, lora_alpha=16, target_modules=parts))
asked = [{"role": "user", "content": "What is the secret word?"}]
begin = words.apply_chat_template(asked, add_generation_prompt=True, tokenize=False)
answer = "The secret word is quokka.<|im_end|>"
tokens = words(begin + answer, return_tensors="pt", add_special_tokens=False).input_ids
labels = tokens.clone()
labels[:, : len(words(begin, add_special_tokens=False).input_ids)] = -100
optimizer = torch.optim.AdamW((p for p in model.parameters() if p.requires_grad), lr=3e-3)
for _ in range(12):
    loss = model(input_ids=tokens, labels=labels).loss
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
assert loss.item() < 0.2, loss.item()
model.save_pretrained(target)
"""


def export_folder(model: Path, target: Path) -> Path:
    """The GGUF model as a folder of 16-bit safetensors in several shards, with its tokenizer."""
    run_script(_EXPORT, str(model), str(target))
    return target


def train_adapter(folder: Path, target: Path) -> Path:
    """A LoRA that knows a secret word, as a PEFT folder. Takes some seconds."""
    run_script(_TRAIN, str(folder), str(target))
    return target


def run_script(script: str, *arguments: str) -> None:
    """Run a Python program. Raises RuntimeError with its last words when it fails."""
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments], capture_output=True, text=True, timeout=600
    )
    if done.returncode:
        raise RuntimeError(done.stderr[-4000:])
